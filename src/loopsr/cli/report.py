"""What a person or a script sees while pictures are upscaled.

Results go to stdout, one line a picture; progress, notes and errors to stderr, and progress only
when stderr is a terminal. When the picture itself goes to stdout, its line goes to that terminal,
so that a pipe is silent.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections import Counter
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from loopsr.apps.batch.forecast import Forecast, Total
from loopsr.apps.batch.run import Outcome
from loopsr.cli.text import format_bytes, format_memory, format_seconds, named, one_line

_SIZE = "{source_width}x{source_height} -> {width}x{height}"
_WHY = {
    "kept": "kept, as an earlier run finished them",
    "skipped": "skipped, as there were such files",
}
_ORDER = ("write", "replace", "keep", "skip", "fail")
_KNOWN_BY = {
    "measured": "a short measurement on this machine",
    "recorded": "the speed of the last run here",
}
_LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}


class Report(logging.Handler):
    """Progress bar, result lines and the package's log of one run; use as a context manager."""

    def __init__(self, *, total: int, as_json: bool, verbosity: int, stdout_taken: bool) -> None:
        super().__init__(_LEVELS[max(-1, min(verbosity, 2))])
        piped = stdout_taken and not sys.stderr.isatty()
        self._quiet = verbosity < 0 or (piped and verbosity == 0)
        self._verbose = verbosity > 0
        self._json = as_json
        self._stdout = sys.stdout
        self._lines = sys.stderr if stdout_taken else sys.stdout
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._total = total
        self._done = 0
        self._counts: Counter[str] = Counter()
        self._failures: list[tuple[str, str]] = []
        self._code = 0
        # number: source, fraction done, what else is to be said of it
        self._working: dict[int, tuple[str, float, str]] = {}
        self._threads: dict[int | None, str] = {}  # which source a thread is at
        self._guard = threading.RLock()
        self._bar: Progress | None = None
        if not self._quiet and self._console.is_terminal:
            self._bar = _bar(self._console, total)

    def __enter__(self) -> Self:
        logging.getLogger("loopsr").addHandler(self)
        logging.getLogger("loopsr").setLevel(self.level)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hide_bar()
        logging.getLogger("loopsr").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """One log record, as one line above the bar, with the picture that it is about."""
        message = record.getMessage()
        source = self._threads.get(record.thread)
        if source is not None and self._total > 1:
            message = named(source, message)
        self._say(f"loopsr: {'note' if record.levelno <= 30 else 'error'}: {message}")

    def begin(self, number: int, source: str) -> None:
        """A picture is in the works; called from the thread that works on it."""
        with self._guard:
            self._threads[threading.get_ident()] = source
            self._working[number] = (source, 0.0, "")
            self._move_bar()

    def advance(self, number: int, done: float, note: str = "") -> None:
        """A picture is done so far, 0 to 1; ``note`` takes the place of the time that is left."""
        with self._guard:
            if number in self._working:
                self._working[number] = (self._working[number][0], done, note)
                self._move_bar()

    def _move_bar(self) -> None:
        if self._bar is None or not self._working:
            return
        first = min(self._working)
        name, _, note = self._working[first]
        name = one_line(name if len(name) <= 40 else "…" + name[-39:])
        place = f"{first + 1}/{self._total} " if self._total > 1 else ""
        done = self._done + sum(fraction for _, fraction, _ in self._working.values())
        self._bar.update(TaskID(0), completed=done, description=place + name, note=note)
        self._bar.start()

    def _hide_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, number: int, outcome: Outcome) -> None:
        """What came of a job, once it is done."""
        with self._guard:
            self._working.pop(number, None)
            self._done += 1
            self._counts[outcome.status] += 1
            job, message = outcome.job, one_line(outcome.error)
            names = {"source": job.source, "target": job.target}
            if outcome.status == "failed":
                self._failures.append((job.source, message))
                # One picture: the error's own code (2 for a size that cannot be). Several: 1.
                self._code = outcome.exit_code if self._total == 1 else 1
            if self._json and outcome.status == "failed":
                self._print_json({"ok": False, "status": "failed", **names, "error": message})
            elif self._json:
                self._print_json({"ok": True, "status": outcome.status, **outcome.result, **names})
            elif outcome.status == "written" and not self._quiet:
                self._print(_line(outcome.result))
            elif outcome.status in ("kept", "skipped") and (self._verbose or self._total == 1):
                self._print(f"{job.target}  {_WHY[outcome.status]}")
            if outcome.status == "failed":
                self._say(f"loopsr: error: {named(job.source, message)}")
            self._move_bar()

    def summary(self) -> int:
        """After the last picture: what else came of them, and the failures. Gives the exit code."""
        self._hide_bar()
        if self._total > 1 and not self._quiet:
            for status in ("kept", "skipped"):
                if self._counts[status]:
                    self._say(f"loopsr: {self._counts[status]} of {self._total} {_WHY[status]}")
        if self._total > 1 and self._failures:
            self._say(f"loopsr: {len(self._failures)} of {self._total} failed:")
            for source, message in self._failures:
                self._say(f"  {named(source, message)}")
        return self._code

    def left_out(self, count: int) -> None:
        """Files in folders that are no pictures by their names."""
        if count and not self._quiet:
            files = "1 file is" if count == 1 else f"{count} files are"
            self._say(f"loopsr: note: {files} no picture or video by the name, and left out")

    def forecast(self, one: Forecast) -> None:
        """What would come of a job."""
        job, message = one.job, one_line(one.error)
        names = {"source": job.source, "target": job.target}
        if one.status == "fail":
            self._failures.append((job.source, message))
            if self._json:
                self._print_json({"ok": False, "status": "fail", **names, "error": message})
            self._say(f"loopsr: error: {named(job.source, message)}")
        elif self._json:
            facts = {**one.result, **names, "bytes": one.bytes, "memory": one.memory}
            self._print_json({"ok": True, "status": one.status, **facts})
        elif not self._quiet:
            text = f"would {one.status} {job.target}"
            if one.status in ("write", "replace"):
                size = _SIZE.format(**one.result)
                seconds = format_seconds(one.result["seconds"])
                text += (
                    f"  {size}  {one.result['model']}  about {seconds}, {format_bytes(one.bytes)}"
                )
            self._print(text)

    def total(self, total: Total) -> int:
        """The sums of a forecast; gives the exit code."""
        known = {speed.known_by for speed in total.speeds.values()}
        if self._json:
            facts = {"seconds": round(total.seconds, 3), "bytes": total.bytes}
            speed = " and ".join(sorted(known)) or None
            self._print_json(
                {"summary": True, **total.counts, **facts, "memory": total.memory, "speed": speed}
            )
        elif not self._quiet:
            counts = [f"{total.counts[name]} to {name}" for name in _ORDER if name in total.counts]
            self._say(f"loopsr: {', '.join(counts)}; nothing was written")
            if total.seconds:
                how = " and ".join(_KNOWN_BY[name] for name in sorted(known))
                self._say(
                    f"loopsr: about {format_seconds(total.seconds)} by {how}, "
                    f"{format_bytes(total.bytes)} of files, "
                    f"up to {format_memory(total.memory)} of memory for the work"
                )
        return 1 if self._failures else 0

    def _say(self, text: str) -> None:
        self._hide_bar()
        indent = "  " if text.startswith("  ") else ""
        self._console.print(indent + one_line(text), soft_wrap=True)

    def _print(self, text: str) -> None:
        if self._lines.isatty():  # the bar may be on the same terminal
            self._hide_bar()
        print(one_line(text), file=self._lines, flush=True)

    def _print_json(self, record: dict[str, Any]) -> None:
        if sys.stdout.isatty():
            self._hide_bar()
        print(json.dumps(record, ensure_ascii=False), file=self._stdout, flush=True)


def _line(result: dict[str, Any]) -> str:
    seconds = format_seconds(float(result["seconds"]))
    return f"{result['target']}  {_SIZE.format(**result)}  {result['model']}  {seconds}"


class _Rest(TimeRemainingColumn):
    """The time that is left, or what a job itself says of it."""

    def render(self, task: Task) -> Text:
        """The note of the task, if it has one."""
        note = task.fields.get("note")
        return Text(note) if note else super().render(task)


def _bar(console: Console, total: int) -> Progress:
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        _Rest(compact=True),
        console=console,
        transient=True,
        # a result line is printed while the bar is hidden, so nothing need be caught
        redirect_stdout=False,
        redirect_stderr=False,
    )
    bar.add_task("", total=float(total), note="")
    return bar

"""What a person or a script sees while pictures are upscaled.

Results go to stdout, one line a picture; progress, notes and errors to stderr, and progress only
when stderr is a terminal. When the picture itself goes to stdout, its line goes to that terminal,
so that a pipe is silent.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from loopsr.apps.batch.jobs import STREAM
from loopsr.cli.text import format_seconds, one_line

_LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}


class Report(logging.Handler):
    """Progress bar, result lines and the package's log of one run; use as a context manager."""

    def __init__(self, *, total: int, as_json: bool, verbosity: int, stdout_taken: bool) -> None:
        super().__init__(_LEVELS[max(-1, min(verbosity, 2))])
        piped = stdout_taken and not sys.stderr.isatty()
        self._quiet = verbosity < 0 or (piped and verbosity == 0)
        self._json = as_json
        self._lines = sys.stderr if stdout_taken else sys.stdout
        self._console = Console(stderr=True, highlight=False)
        self._total = total
        self._count = 0
        self._bar = not self._quiet and self._console.is_terminal
        self._progress: Progress | None = None

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
        self._end_bar()
        logging.getLogger("loopsr").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """One log record, as one line above the bar."""
        self._say(f"loopsr: {'note' if record.levelno <= 30 else 'error'}: {record.getMessage()}")

    def begin(self, source: str) -> None:
        """Start the bar of the next picture."""
        self._count += 1
        place = f"{self._count}/{self._total} " if self._total > 1 else ""
        if not self._bar:
            return
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            # a result line on stdout is printed after the bar is gone, so nothing need be caught
            redirect_stdout=False,
            redirect_stderr=False,
        )
        name = source if len(source) <= 40 else "…" + source[-39:]
        self._progress.add_task(place + escape(one_line(name)), total=1.0)
        self._progress.start()

    def advance(self, done: float) -> None:
        """Move the bar to ``done``, 0 to 1."""
        if self._progress is not None:
            self._progress.update(TaskID(0), completed=done)

    def _end_bar(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def finished(self, result: dict[str, Any]) -> None:
        """One result, with the keys of ``loopsr.engine.files.FileResult``."""
        self._end_bar()
        if self._json:
            self._print_json({"ok": True, **result})
        elif not self._quiet:
            size = "{source_width}x{source_height} -> {width}x{height}".format(**result)
            seconds = format_seconds(float(result["seconds"]))
            self._print(f"{result['target']}  {size}  {result['model']}  {seconds}")

    def failed(self, source: str, target: str, message: str) -> None:
        """One failure, told at once; ``summary`` repeats them at the end of a long run."""
        self._end_bar()
        if self._json:
            self._print_json(
                {"ok": False, "source": source, "target": target, "error": one_line(message)}
            )
        self._say(f"loopsr: error: {_named(source, message)}")

    def summary(self, failures: list[tuple[str, str]], total: int) -> None:
        """After several pictures: how many failed, and which."""
        if total > 1 and failures:
            self._say(f"loopsr: {len(failures)} of {total} failed:")
            for source, message in failures:
                self._say(f"  {_named(source, message)}")

    def _say(self, text: str) -> None:
        indent = "  " if text.startswith("  ") else ""
        self._console.print(indent + one_line(text), markup=False, soft_wrap=True)

    def _print(self, text: str) -> None:
        print(one_line(text), file=self._lines, flush=True)

    def _print_json(self, record: dict[str, Any]) -> None:
        print(json.dumps(record, ensure_ascii=False), file=sys.stdout, flush=True)


def _named(source: str, message: str) -> str:
    """The message, led by the file as the user named it, and by that only once."""
    if source == STREAM:
        return f"stdin: {message}"
    if source in message:
        return message
    return f"{source}: {message.removeprefix(Path(source).name + ': ')}"

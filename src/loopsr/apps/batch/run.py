"""All jobs of a run: several at once around one network, told in their order.

While the network runs on one picture, the next ones are decoded and the last ones encoded. The
networks take turns, and only as many pictures are in the works as the memory allows, so the results
are those of one after another, and the memory is flat however many there are.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from loopsr.apps.batch.jobs import STREAM, Job, check_clashes, rename_jobs
from loopsr.apps.batch.record import Entry, Ledger, Origin, content_of, origin_of
from loopsr.apps.batch.remote_record import note_of, open_ledger
from loopsr.apps.batch.resume import Collision, decide, earlier_name
from loopsr.apps.batch.settings import Settings, fingerprint
from loopsr.apps.batch.share import Share
from loopsr.apps.batch.work import Place, do_job
from loopsr.errors import Cancelled, LoopsrError, UsageError

if TYPE_CHECKING:
    from loopsr.engine.upscaler import Upscaler

_MOST_LANES = 8
_AHEAD = 8  # jobs a lane that may be done before the first of them is told


class Watch(Protocol):
    """Is told, from several threads, which jobs are in the works and how far they are, 0 to 1.

    ``note`` is more of it in words, or "".
    """

    def begin(self, number: int, source: str) -> None: ...

    def advance(self, number: int, done: float, note: str = "") -> None: ...


class Unwatched:
    """A watch that does not look."""

    def begin(self, number: int, source: str) -> None:
        """Nothing."""

    def advance(self, number: int, done: float, note: str = "") -> None:
        """Nothing."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one job; JSON-able by ``asdict``.

    ``result`` has the keys of ``FileResult`` for what was written or kept, ``error`` one line for
    what failed.
    """

    job: Job
    status: Literal["written", "kept", "skipped", "failed"]
    result: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    exit_code: int = 0


def run(
    jobs: Sequence[Job],
    settings: Settings,
    upscaler: Upscaler,
    *,
    folder: str | Path | None = None,
    collision: Collision = "error",
    lanes: int | None = None,
    memory: int | None = None,
    watch: Watch | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Do all jobs and yield what came of each, in their order; a failure is an outcome.

    ``folder`` is that of the results, where the record is kept by which a later run goes on.
    ``lanes`` jobs are in the works at once (None: by the cores) while their ``memory``, in bytes,
    suffices (None: as ``Upscaler``). Raises ``UsageError`` for results of one name and while
    another run writes into the folder, ``ImageWriteError`` for a folder that cannot be written to,
    ``Cancelled`` once ``stopped`` says so.
    """
    from loopsr.io.parts import remove_stale

    with ExitStack() as stack:
        record, settings_hash = None, ""
        if collision != "rename":
            check_clashes(jobs)  # before the folder is made
        if folder is not None:
            settings_hash = fingerprint(settings, upscaler.identity())
            record = open_ledger(folder)
            stack.callback(record.close)
        if collision == "rename":
            jobs = renamed(jobs, record, settings_hash)
        for parent in local_folders(jobs):
            remove_stale(parent)
        hall = Hall(
            settings=settings,
            upscaler=upscaler,
            record=record,
            settings_hash=settings_hash,
            collision=collision,
            watch=watch or Unwatched(),
            stopped=stopped,
            memory=memory or _default_memory(),
        )
        yield from hall.all(jobs, lanes=min(lanes or default_lanes(), len(jobs)))


def local_folders(jobs: Sequence[Job]) -> set[Path]:
    """The folders of this machine that results lie in."""
    from loopsr.io.remote import is_address

    targets = (job.target for job in jobs if job.target != STREAM)
    return {Path(target).parent for target in targets if not is_address(target)}


def renamed(jobs: Sequence[Job], record: Ledger | None, settings: str) -> Sequence[Job]:
    """The jobs with names that are free, or that an earlier run with the same settings gave.

    Raises ``UsageError`` for results at an address.
    """
    from loopsr.io.remote import is_address

    if any(is_address(job.target) for job in jobs):
        raise UsageError(
            "--rename would have to ask the store for name after name; pass --skip or --overwrite"
        )
    return rename_jobs(jobs, earlier_name(record, settings) if record else lambda job: None)


def default_lanes() -> int:
    """How many jobs are in the works at once: one for the network, one a core for the codecs."""
    from loopsr.engine.machine import cores

    return min(cores() + 1, _MOST_LANES)


def _default_memory() -> int:
    from loopsr.engine.machine import free_memory
    from loopsr.engine.plan import default_memory

    return default_memory(free_memory())


class Hall:
    """Where the jobs of one run are done: what they share, and one of them from start to end."""

    def __init__(
        self,
        *,
        settings: Settings,
        upscaler: Upscaler,
        record: Ledger | None,
        settings_hash: str,
        collision: Collision,
        watch: Watch,
        stopped: Callable[[], bool],
        memory: int,
        name: str = "",
    ) -> None:
        self._settings = settings
        self._upscaler = upscaler
        self._record = record
        self._settings_hash = settings_hash
        self._collision = collision
        self._watch = watch
        self._closed = threading.Event()
        self._stopped: Callable[[], bool] = lambda: stopped() or self._closed.is_set()
        self._network = Share(1, stopped=self._stopped)
        self._memory = Share(memory, stopped=self._stopped)
        self._name = name or secrets.token_hex(4)

    def all(self, jobs: Sequence[Job], *, lanes: int) -> Iterator[Outcome]:
        """Outcomes in the order of the jobs; only a bounded number of them is ever held."""
        pending: deque[Future[Outcome]] = deque()
        pool = ThreadPoolExecutor(max(1, lanes), thread_name_prefix="loopsr-lane")
        try:
            for number, job in enumerate(jobs):
                pending.append(pool.submit(self._one, number, job))
                if len(pending) >= lanes * _AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # also when nobody wants the rest
            self._closed.set()
            pool.shutdown(cancel_futures=True)

    def _one(self, number: int, job: Job) -> Outcome:
        if self._stopped():
            raise Cancelled("stopped before its turn; nothing was written")
        self._watch.begin(number, job.source)
        try:
            return self._decided(number, job)
        except Cancelled:
            raise
        except (LoopsrError, OSError, MemoryError) as error:
            message = str(error) or "out of memory; pass --max-memory 500M"
            code = getattr(error, "exit_code", 1)
            return Outcome(job=job, status="failed", error=message, exit_code=code)

    def _decided(self, number: int, job: Job) -> Outcome:
        verdict = decide(
            job,
            record=self._record,
            settings=self._settings_hash,
            collision=self._collision,
        )
        if verdict.action == "skip":
            return Outcome(job=job, status="skipped")
        if verdict.entry is not None:
            result = {**verdict.entry.result, "source": job.source, "target": job.target}
            return Outcome(job=job, status="kept", result=result)
        settings = replace(self._settings, overwrite=verdict.action == "replace")
        note = _Note(self._record, job, self._settings_hash, self._name)
        place = Place(
            room=partial(self._memory.take, number),
            turn=partial(self._network.take, number),
            seal=note.add,
            send=note.send,
        )

        def progress(done: float, note: str = "") -> bool:
            self._watch.advance(number, done, note)
            return not self._stopped()

        result = do_job(job, settings, self._upscaler, progress, place)
        note.add_late(job.target, result)
        return Outcome(job=job, status="written", result=result)


class _Note:
    """The entry of one job in the record, if there is one."""

    def __init__(self, record: Ledger | None, job: Job, settings: str, run: str) -> None:
        self._record = record if job.key else None
        self._job = job
        self._settings = settings
        self._run = run
        self._entry: Entry | None = None
        # As it is before it is read: should it change meanwhile, the next run sees it.
        self._origin = self._known_origin() if self._record is not None else None

    def add(self, path: Path, result: dict[str, Any], cost: int) -> None:
        """Note the complete file. Raises OSError."""
        if self._record is None or self._origin is None:
            return
        self._entry = Entry(
            key=self._job.key,
            origin=self._origin,
            settings=self._settings,
            content=content_of(path),
            result={**result, "source": self._job.source, "target": self._job.target},
            cost=cost,
            at=round(time.time(), 3),
            run=self._run,
        )
        self._record.add(self._entry)

    def add_late(self, path: str | Path, result: dict[str, Any]) -> None:
        """Note a result of a worker that does not do so before it gives it its name."""
        if self._entry is None and self._record is not None:
            self.add(Path(path), result, 0)

    def send(self, path: Path, address: str, result: dict[str, Any]) -> None:
        """Send a result to its address, with its entry. Raises ``ImageWriteError``."""
        from loopsr.io import remote

        self.add_late(path, result)
        remote.send(path, address, note=note_of(self._entry) if self._entry else "")

    def _known_origin(self) -> Origin | None:
        try:
            return origin_of(self._job.source)
        except OSError:
            return None  # the worker will tell in its own words

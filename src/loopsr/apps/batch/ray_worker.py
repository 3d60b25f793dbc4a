"""What runs on the machines of a Ray cluster: a worker that does jobs, and the keeper of a record.

A worker opens its networks once and then does what ``run`` does on one machine, lot after lot. Jobs
and outcomes travel as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

from loopsr.apps.batch.jobs import Job
from loopsr.apps.batch.record import Entry, Ledger, Record, open_record, parsed
from loopsr.apps.batch.remote_record import RemoteRecord
from loopsr.apps.batch.resume import Collision, decide
from loopsr.apps.batch.run import Hall, Outcome
from loopsr.apps.batch.settings import Settings, fingerprint
from loopsr.errors import LoopsrError

_MOST_TRIES = 4  # of a job whose worker was lost
_LOST = (
    f"{_MOST_TRIES} workers were lost over it, perhaps for want of memory; pass --max-memory 500M, "
    "or leave it out"
)


@dataclass(frozen=True, kw_only=True)
class Duty:
    """What a worker is told once: all but the jobs."""

    settings: Settings
    fingerprint: str  # of the settings, as the driver has it
    collision: Collision
    folder: str
    run: str  # the name of the run
    upscaler: dict[str, Any]  # arguments of ``Upscaler``
    threads: int
    lanes: int
    memory: int | None  # bytes; None: this worker's share of what is free


@final
class Worker:
    """Does lots of jobs; one to an actor, with as many threads as the actor has CPUs."""

    def __init__(self, duty: Duty, keeper: Any) -> None:
        # Read by libvips when it starts: the encoders too keep to the CPUs that are ours.
        os.environ.setdefault("VIPS_CONCURRENCY", str(duty.threads))
        self._duty = duty
        self._keeper = keeper
        self._get = importlib.import_module("ray").get
        self._fault = ""
        try:
            self._open()
        except LoopsrError as error:
            self._fault = f"{platform.node()}: {error}"

    def _open(self) -> None:
        from loopsr.engine.upscaler import Upscaler
        from loopsr.io import remote

        duty = self._duty
        self._memory = duty.memory or _share_of_memory(duty.threads)
        self._upscaler = Upscaler(threads=duty.threads, max_memory=self._memory, **duty.upscaler)
        if fingerprint(duty.settings, self._upscaler.identity()) != duty.fingerprint:
            raise LoopsrError(
                "this machine has another version of loopsr, or other networks; "
                "install the same on all machines of the cluster"
            )
        far = remote.is_address(duty.folder)
        self._record: Ledger = RemoteRecord(duty.folder) if far else Kept(self._keeper)

    def __call__(self, lot: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Do a lot of jobs. A lot has ``number`` and ``job``, what comes back ``outcome`` too.

        A fault of the worker itself, that no other job would escape, is an outcome as well.
        """
        numbers = [int(number) for number in lot["number"]]
        if self._fault:
            fault = json.dumps({"fault": self._fault})
            return {"number": numbers, "outcome": [fault] * len(numbers)}
        jobs = {n: Job(**json.loads(text)) for n, text in zip(numbers, lot["job"], strict=True)}
        outcomes = {number: to_json(outcome) for number, outcome in self._done(jobs)}
        return {"number": numbers, "outcome": [outcomes[number] for number in numbers]}

    def _done(self, jobs: dict[int, Job]) -> Iterator[tuple[int, Outcome]]:
        tries = self._get(self._keeper.tries.remote(list(jobs)))
        for number, job in jobs.items():
            if tries[number] >= _MOST_TRIES:
                yield number, Outcome(job=job, status="failed", error=_LOST, exit_code=1)
        left = [number for number in jobs if tries[number] < _MOST_TRIES]
        hall = Hall(
            settings=self._duty.settings,
            upscaler=self._upscaler,
            record=self._record,
            settings_hash=self._duty.fingerprint,
            collision=self._duty.collision,
            watch=_Begun(self._keeper, left),
            stopped=lambda: False,
            memory=self._memory,
            name=self._duty.run,
        )
        # A worker was lost over this lot: one at a time shows over which picture.
        lanes = 1 if any(tries.values()) else self._duty.lanes
        outcomes = hall.all([jobs[number] for number in left], lanes=lanes)
        for number, outcome in zip(left, outcomes, strict=True):
            yield number, self._checked(outcome)

    def _checked(self, outcome: Outcome) -> Outcome:
        """The outcome, unless a worker of this run that was thought lost wrote the result."""
        if outcome.status not in ("failed", "kept"):
            return outcome
        try:
            verdict = decide(
                outcome.job,
                record=self._record,
                settings=self._duty.fingerprint,
                collision=self._duty.collision,
            )
        except (LoopsrError, OSError):
            return outcome
        if verdict.entry is None or verdict.entry.run != self._duty.run:
            return outcome
        names = {"source": outcome.job.source, "target": outcome.job.target}
        return Outcome(job=outcome.job, status="written", result={**verdict.entry.result, **names})


@final
class _Begun:
    """Tells the keeper of every job that is begun."""

    def __init__(self, keeper: Any, numbers: Sequence[int]) -> None:
        self._keeper = keeper
        self._numbers = numbers
        self._get = importlib.import_module("ray").get

    def begin(self, number: int, source: str) -> None:
        """The keeper knows it when this returns."""
        self._get(self._keeper.begin.remote(self._numbers[number]))

    def advance(self, number: int, done: float, note: str = "") -> None:
        """Nothing: the driver hears of lots."""


@final
class Keeper:
    """What outlives the workers, on the machine of the driver: which jobs were begun how often, and
    the record of a folder there."""

    def __init__(self, folder: str | None) -> None:
        self._tries: Counter[int] = Counter()
        self._open = None if folder is None else open_record(Path(folder))

    def begin(self, number: int) -> None:
        """A job is begun, once more perhaps."""
        self._tries[number] += 1

    def tries(self, numbers: Sequence[int]) -> dict[int, int]:
        """How often jobs were begun."""
        return {number: self._tries[number] for number in numbers}

    @property
    def _record(self) -> Record:
        assert self._open is not None
        return self._open

    def find(self, key: str) -> str | None:
        """The line of an entry."""
        entry = self._record.find(key)
        return None if entry is None else entry.line()

    def add(self, line: str) -> None:
        """Append a line. Raises OSError."""
        entry = parsed(line.encode())
        if entry is not None:
            self._record.add(entry)


@final
class Kept:
    """The record that a keeper keeps, at a worker; the interface of ``Record``."""

    def __init__(self, keeper: Any) -> None:
        self._keeper = keeper
        self._get = importlib.import_module("ray").get

    def find(self, key: str) -> Entry | None:
        """The last entry of a result, None if there is none."""
        line = self._get(self._keeper.find.remote(key))
        return None if line is None else parsed(line.encode())

    def entries(self) -> Iterator[Entry]:
        """None: whoever needs them all reads the file."""
        return iter(())

    def add(self, entry: Entry) -> None:
        """Append an entry; it is on the disk of the driver's machine when this returns."""
        self._get(self._keeper.add.remote(entry.line()))

    def close(self) -> None:
        """Nothing: the keeper goes with the run."""


def to_json(outcome: Outcome) -> str:
    """An outcome as JSON."""
    return json.dumps(asdict(outcome))


def from_json(text: str, job: Job) -> Outcome:
    """An outcome from JSON, of ``job`` as the driver has it. Raises ``LoopsrError`` for a fault."""
    facts = json.loads(text)
    if "fault" in facts:
        raise LoopsrError(facts["fault"])
    outcome = Outcome(**{**facts, "job": job})
    if not outcome.result:
        return outcome
    return replace(outcome, result={**outcome.result, "source": job.source, "target": job.target})


def _share_of_memory(threads: int) -> int:
    """Bytes for one of the workers that share this machine's memory."""
    from loopsr.engine.machine import cores, free_memory
    from loopsr.engine.plan import default_memory

    return default_memory(int(free_memory() * min(1.0, threads / cores())))

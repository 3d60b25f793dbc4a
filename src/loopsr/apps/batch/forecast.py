"""What a run would do, without doing it: results, their sizes, time and memory."""

from __future__ import annotations

import heapq
import io
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loopsr.apps.batch.jobs import Job, check_clashes
from loopsr.apps.batch.kinds import is_video
from loopsr.apps.batch.near import at_hand
from loopsr.apps.batch.record import Entry, Ledger
from loopsr.apps.batch.remote_record import read_ledger
from loopsr.apps.batch.resume import Collision, decide
from loopsr.apps.batch.run import default_lanes, renamed
from loopsr.apps.batch.settings import Settings, fingerprint
from loopsr.apps.batch.work import open_job
from loopsr.errors import Cancelled, LoopsrError

if TYPE_CHECKING:
    from loopsr.engine.upscaler import Upscaler

_SAMPLE = "osprey.png"
_FEWEST = 3  # results of an earlier run that tell its speed
# About as many bits a pixel as each codec takes at its default quality.
_VIDEO_BITS = {"h264": 0.2, "h265": 0.12, "av1": 0.1, "prores": 3.5, "ffv1": 10.0}
_MEASURED = 0.5  # seconds of measurement after the first, slower round


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Of one format: seconds a unit of ``OpenedFile.cost`` and bytes of file a pixel, and how they
    are known."""

    seconds: float
    bytes: float
    known_by: Literal["measured", "recorded"]
    pictures: int  # that were timed


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What would come of one job; JSON-able by ``asdict``.

    ``result`` has the keys of ``FileResult``, its seconds estimated; ``bytes`` is the estimated
    length of the file, ``memory`` what the work takes.
    """

    job: Job
    status: Literal["write", "replace", "keep", "skip", "fail"]
    result: dict[str, Any] = field(default_factory=dict)
    bytes: int = 0
    memory: int = 0
    error: str = ""


@dataclass
class Total:
    """The sums of a forecast, filled while it is read. ``memory`` is that of the work alone."""

    lanes: int
    budget: int | None
    speeds: dict[str, Speed] = field(default_factory=dict)  # by format
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    bytes: int = 0
    _largest: list[int] = field(default_factory=list)

    def add(self, one: Forecast) -> None:
        """Count one job."""
        self.counts[one.status] = self.counts.get(one.status, 0) + 1
        if one.status in ("write", "replace"):
            self.seconds += one.result["seconds"]
            self.bytes += one.bytes
            heapq.heappush(self._largest, one.memory)
            if len(self._largest) > self.lanes:
                heapq.heappop(self._largest)

    @property
    def memory(self) -> int:
        """Bytes at the most: the largest pictures that may be in the works at once."""
        if not self._largest or self.budget is None:
            return sum(self._largest)
        return max(max(self._largest), min(self.budget, sum(self._largest)))


def forecast(
    jobs: Sequence[Job],
    settings: Settings,
    upscaler: Upscaler,
    *,
    folder: str | Path | None = None,
    collision: Collision = "error",
    lanes: int | None = None,
    memory: int | None = None,
) -> tuple[Iterator[Forecast], Total]:
    """What ``run`` with the same arguments would do, job by job, and the sums, which grow with it.

    Reads headers and writes nothing. The speed is that of the last run in the folder with the same
    settings, else that of a short measurement. Raises as ``run`` does.
    """
    total = Total(lanes=lanes or default_lanes(), budget=memory)

    def each() -> Iterator[Forecast]:
        if collision != "rename":
            check_clashes(jobs)
        with ExitStack() as stack:
            record, hashed = None, ""
            if folder is not None and (record := read_ledger(folder)) is not None:
                stack.callback(record.close)
                hashed = fingerprint(settings, upscaler.identity())
                total.speeds = recorded_speeds(record, hashed)
            named = renamed(jobs, record, hashed) if collision == "rename" else jobs
            for job in named:
                one = _one(job, settings, upscaler, record, hashed, collision, total)
                total.add(one)
                yield one

    return each(), total


def _one(
    job: Job,
    settings: Settings,
    upscaler: Upscaler,
    record: Ledger | None,
    hashed: str,
    collision: Collision,
    total: Total,
) -> Forecast:
    from loopsr.engine.files import describe

    try:
        verdict = decide(job, record=record, settings=hashed, collision=collision)
        if verdict.action in ("keep", "skip"):
            result = verdict.entry.result if verdict.entry is not None else {}
            return Forecast(job=job, status=verdict.action, result=result)
        if is_video(job.source):
            with at_hand(job) as near:
                return _video(job, near, settings, upscaler, verdict.action, total)
        with at_hand(job) as near:
            opened = open_job(near, settings, upscaler)
        speed = total.speeds.get(opened.entry.name)
        if speed is None:
            factor = max(
                opened.plan.width / opened.picture.width, opened.plan.height / opened.picture.height
            )
            speed = measured_speed(factor, opened.entry.name, settings, upscaler)
            total.speeds[opened.entry.name] = speed
    except Cancelled:
        raise
    except (LoopsrError, OSError, MemoryError) as error:
        return Forecast(job=job, status="fail", error=str(error) or "out of memory")
    pixels = opened.plan.width * opened.plan.height * opened.frames
    result = vars(describe(opened, seconds=opened.cost * speed.seconds))
    return Forecast(
        job=job,
        status=verdict.action,
        result={**result, "source": job.source, "target": job.target},
        bytes=round(pixels * speed.bytes),
        memory=opened.memory,
    )


def _video(
    job: Job,
    near: Job,
    settings: Settings,
    upscaler: Upscaler,
    action: Literal["write", "replace", "keep", "skip"],
    total: Total,
) -> Forecast:
    """What would come of a video: as long as its networks take, as if no frame were repeated.

    ``near`` is the job with files of this machine.
    """
    from loopsr.apps.batch.video import open_video_job

    opened = open_video_job(near, settings, upscaler)
    frames = opened.make_frames()
    codec = opened.spec.codec
    speed = total.speeds.get(codec)
    if speed is None:
        measured = measured_speed(frames.width / opened.clip.width, "png", settings, upscaler)
        speed = total.speeds[codec] = replace(measured, bytes=_VIDEO_BITS[codec] / 8)
    count = opened.expected_frames
    result = vars(opened.describe(frames, count=count, seconds=frames.cost * count * speed.seconds))
    return Forecast(
        job=job,
        status=action,
        result={**result, "source": job.source, "target": job.target},
        bytes=round(frames.width * frames.height * count * speed.bytes),
        memory=frames.work_memory,
    )


def recorded_speeds(record: Ledger, settings: str) -> dict[str, Speed]:
    """The speed of the last run with the same settings, by format; {} if it made too few results.

    Several pictures are in the works at once, so it is the time between results that counts, and
    that is the same for all formats.
    """
    runs: dict[str, list[Entry]] = {}
    for entry in record.entries():
        if entry.settings == settings and entry.cost > 0:
            runs.setdefault(entry.run, []).append(entry)
    told = [entries for entries in runs.values() if len(entries) >= _FEWEST]
    if not told:
        return {}
    last = sorted(max(told, key=lambda entries: max(e.at for e in entries)), key=lambda e: e.at)
    seconds = (last[-1].at - last[0].at) / sum(entry.cost for entry in last[1:])
    speeds = {}
    for name in {entry.result["format"] for entry in last}:
        alike = [entry for entry in last if entry.result["format"] == name]
        pixels = sum(e.result["width"] * e.result["height"] * e.result["frames"] for e in alike)
        length = sum(entry.content.bytes for entry in alike)
        speeds[name] = Speed(
            seconds=seconds, bytes=length / pixels, known_by="recorded", pictures=len(last)
        )
    return speeds


def measured_speed(factor: float, format: str, settings: Settings, upscaler: Upscaler) -> Speed:
    """The speed of the sample picture, enlarged by ``factor`` to memory."""
    from loopsr.engine.files import open_file, write_file
    from loopsr.io.formats import Encoding

    sample = (resources.files("loopsr.apps") / "assets" / _SAMPLE).read_bytes()
    seconds, rounds, cost, written, pixels = 0.0, 0, 0, 0, 1
    while rounds < 2 or seconds < _MEASURED:
        stream = io.BytesIO()
        trial = open_file(
            sample,
            stream,
            upscaler=upscaler,
            scale=min(factor, 16.0),
            encoding=Encoding(quality=settings.quality, lossless=settings.lossless),
            format=format,
        )
        start = time.monotonic()
        write_file(trial, upscaler=upscaler)
        if rounds:  # the first one loads the network
            seconds += time.monotonic() - start
            cost += trial.cost
        rounds += 1
        written = stream.tell()
        pixels = trial.plan.width * trial.plan.height
    return Speed(
        seconds=seconds / cost,
        bytes=written / pixels,
        known_by="measured",
        pictures=rounds - 1,
    )

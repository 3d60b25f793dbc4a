"""Do one job: the input's kind picks the worker, the worker gives back what was done."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from loopsr.apps.batch.jobs import STREAM, Job
from loopsr.apps.batch.kinds import is_video
from loopsr.apps.batch.near import at_hand
from loopsr.apps.batch.settings import Settings
from loopsr.errors import ImageReadError, ImageWriteError

if TYPE_CHECKING:
    from loopsr.engine.files import OpenedFile
    from loopsr.engine.upscaler import Upscaler


class Progress(Protocol):
    """Told the fraction that is done, 0 to 1, and more in words; may return False to stop."""

    def __call__(self, done: float, note: str = "", /) -> bool | None: ...


_MAX_STDIN = 1 << 30  # bytes; it is held in memory


def _send(path: Path, address: str, result: dict[str, Any]) -> None:
    from loopsr.io import remote  # slow import: not for --help

    remote.send(path, address)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A job's place among those that run at once; alone, it need not wait for anything.

    ``room(bytes)`` is held during the work, ``turn()`` while a network runs. ``seal`` is given the
    complete result and the cost of its networks (see ``OpenedFile``) before it gets its name.
    ``send`` is given a result that is to lie at an address.
    """

    room: Callable[[int], AbstractContextManager[object]] = nullcontext
    turn: Callable[[], AbstractContextManager[object]] = nullcontext
    seal: Callable[[Path, dict[str, Any], int], None] | None = None
    send: Callable[[Path, str, dict[str, Any]], None] = _send


ALONE = Place()

# (job, settings, upscaler, progress, place) -> what was done, JSON-able, with at least the keys
# `source`, `target`, `source_width`, `source_height`, `width`, `height`, `model` and `seconds`.
Worker = Callable[[Job, Settings, "Upscaler", Progress, Place], dict[str, Any]]


def do_job(
    job: Job, settings: Settings, upscaler: Upscaler, progress: Progress, place: Place = ALONE
) -> dict[str, Any]:
    """Upscale one input and return what was done, JSON-able.

    Raises what ``upscale_file`` raises: then nothing half-written is left behind.
    """
    with at_hand(job) as near:
        result = worker_of(near)(near, settings, upscaler, progress, place)
        if near.target != job.target:
            place.send(Path(near.target), job.target, result)
    return {**result, "source": job.source, "target": job.target}


def worker_of(job: Job) -> Worker:
    """The worker for the kind of a job's input, told by its name."""
    if is_video(job.source):
        from loopsr.apps.batch.video import upscale_video

        return upscale_video
    return upscale_picture


def upscale_picture(
    job: Job, settings: Settings, upscaler: Upscaler, progress: Progress, place: Place = ALONE
) -> dict[str, Any]:
    """Upscale a picture, from a file or stdin to a file or stdout."""
    from loopsr.engine.files import describe, write_file
    from loopsr.engine.heatmap import write_map

    opened = open_job(job, settings, upscaler)
    if job.target != STREAM:
        make_folder(Path(job.target).parent)

    def seal(part: Path) -> None:
        assert place.seal is not None
        result = asdict(describe(opened, seconds=0))
        place.seal(part, {**result, "source": job.source, "target": job.target}, opened.cost)

    with place.room(opened.memory):
        result = write_file(
            opened,
            upscaler=upscaler,
            overwrite=settings.overwrite,
            progress=progress,
            turn=place.turn,
            seal=None if place.seal is None else seal,
        )
    if settings.show_steps:
        write_map(opened, Path(settings.show_steps))
    return {**asdict(result), "source": job.source, "target": job.target}


def open_job(job: Job, settings: Settings, upscaler: Upscaler) -> OpenedFile:
    """Open a picture and plan its work; writes nothing."""
    from loopsr.engine.files import open_file
    from loopsr.io.formats import Encoding

    source: str | bytes = _read_stdin() if job.source == STREAM else job.source
    if source is job.source and Path(job.source).is_dir():
        raise ImageReadError(f"{job.source}: this is a folder; pass -r, or check its permissions")
    target: Path | BinaryIO = sys.stdout.buffer if job.target == STREAM else Path(job.target)
    return open_file(
        source,
        target,
        upscaler=upscaler,
        encoding=Encoding(quality=settings.quality, lossless=settings.lossless),
        format=settings.format,
        **asdict(settings.size),
    )


def _read_stdin() -> bytes:
    """The picture on stdin; a stream that does not end may not take all memory."""
    data = sys.stdin.buffer.read(_MAX_STDIN + 1)
    if len(data) > _MAX_STDIN:
        raise ImageReadError(
            f"more than {_MAX_STDIN >> 20} MB came in; save it to a file and pass its name"
        )
    return data


def make_folder(folder: Path) -> None:
    """Make the folder of a result, and those above it. Raises ``ImageWriteError``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageWriteError(
            f"{folder}: the folder cannot be made ({error.strerror}); pass another -o"
        ) from None

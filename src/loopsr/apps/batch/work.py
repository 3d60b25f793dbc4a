"""Do one job: the input's kind picks the worker, the worker gives back what was done."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from loopsr.apps.batch.jobs import STREAM, Job
from loopsr.apps.batch.settings import Settings
from loopsr.errors import ImageReadError, ImageWriteError

if TYPE_CHECKING:
    from loopsr.engine.upscaler import Upscaler

# Told the fraction that is done, 0 to 1; may return False to stop.
Progress = Callable[[float], bool | None]
# (job, settings, upscaler, progress) -> what was done, JSON-able, with at least the keys `source`,
# `target`, `source_width`, `source_height`, `width`, `height`, `model` and `seconds`.
Worker = Callable[[Job, Settings, "Upscaler", Progress], dict[str, Any]]

_MAX_STDIN = 1 << 30  # bytes; it is held in memory


def do_job(job: Job, settings: Settings, upscaler: Upscaler, progress: Progress) -> dict[str, Any]:
    """Upscale one input and return what was done, JSON-able.

    Raises what ``upscale_file`` raises: then nothing half-written is left behind.
    """
    return worker_of(job)(job, settings, upscaler, progress)


def worker_of(job: Job) -> Worker:
    """The worker for the kind of a job's input, told by its name."""
    return upscale_picture


def upscale_picture(
    job: Job, settings: Settings, upscaler: Upscaler, progress: Progress
) -> dict[str, Any]:
    """Upscale a picture, from a file or stdin to a file or stdout."""
    from loopsr.engine.files import upscale_file
    from loopsr.io.formats import Encoding

    source: str | bytes = _read_stdin() if job.source == STREAM else job.source
    target: Path | IO[bytes]
    if job.target == STREAM:
        target = sys.stdout.buffer
    else:
        target = Path(job.target)
        make_folder(target.parent)
    result = upscale_file(
        source,
        target,
        upscaler=upscaler,
        encoding=Encoding(quality=settings.quality, lossless=settings.lossless),
        format=settings.format,
        overwrite=settings.overwrite,
        progress=progress,
        **asdict(settings.size),
    )
    return {**asdict(result), "source": job.source, "target": job.target}


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

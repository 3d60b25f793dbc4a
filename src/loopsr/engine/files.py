"""Pictures in files: opened, planned, checked, then streamed from the decoder to the encoder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from loopsr.engine.passes import Meter, Progress, to_float, to_integer
from loopsr.engine.plan import Plan
from loopsr.engine.tiling import Array
from loopsr.engine.upscaler import Upscaler
from loopsr.errors import ImageWriteError
from loopsr.io.formats import Encoding, check_target
from loopsr.io.image import Picture, open_picture
from loopsr.io.limits import Limits
from loopsr.io.writer import check_writable, write_picture

_PIECE = 32  # rows that are handed to the encoder at a time
# The least that a format was seen to need of the samples' plain size, on photographs.
_LEAST_SHARE = {"ppm": 1.0, "tiff": 0.2, "png": 0.2, "gif": 0.1}
_LOSSY_SHARE = 0.02


@dataclass(frozen=True, kw_only=True)
class FileResult:
    """What was done to one picture; sizes in pixels of one frame. JSON-able by ``asdict``."""

    source: str  # "-" for bytes
    target: str  # "-" for a stream
    source_width: int
    source_height: int
    width: int
    height: int
    frames: int
    model: str  # names joined by " + ", in the order of the passes
    format: str
    seconds: float


def upscale_file(
    source: str | Path | bytes,
    target: str | Path | BinaryIO,
    *,
    upscaler: Upscaler | None = None,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    long_edge: int | None = None,
    encoding: Encoding | None = None,
    format: str | None = None,
    limits: Limits | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> FileResult:
    """Upscale a picture from a file, or its bytes, into a file or a binary stream.

    Memory stays bounded however large the picture is. For the size see ``Upscaler.plan``.
    ``format`` is taken from the target's name, for a stream from the source. Size, format limits
    and disk space are checked before anything is computed; the target appears complete or not at
    all.
    ``progress`` is told the fraction done and may return False to stop. Raises ``UsageError``,
    ``ImageReadError``, ``ImageWriteError``, ``WeightsError``, ``BackendError``, ``Cancelled``.
    """
    start = time.monotonic()
    upscaler = upscaler or Upscaler()
    picture = open_picture(source, limits=limits)
    plan = upscaler.plan(
        (picture.width, picture.height),
        scale=scale,
        width=width,
        height=height,
        long_edge=long_edge,
    )
    path = Path(target) if isinstance(target, str | Path) else None
    if format is None and path is None:
        format = picture.source_format
    entry = check_target(
        format or path or "",
        width=plan.width,
        height=plan.height,
        frames=picture.frames,
        traits=picture.traits,
        encoding=encoding,
    )
    frames = picture.frames if entry.animated else 1
    origin = None if isinstance(source, bytes) else source
    if path is not None:
        check_writable(path, overwrite=overwrite, source=origin)
        _check_disk(path, plan, picture, frames, entry.name)
    write_picture(
        path or target,
        _frames(upscaler, plan, picture, frames, progress),
        width=plan.network_size[0],
        height=plan.network_size[1],
        traits=picture.traits,
        frame_count=frames,
        resize_to=(plan.width, plan.height),
        encoding=encoding,
        format=format,
        overwrite=overwrite,
        source=origin,
    )
    return FileResult(
        source="-" if origin is None else str(origin),
        target="-" if path is None else str(path),
        source_width=picture.width,
        source_height=picture.height,
        width=plan.width,
        height=plan.height,
        frames=frames,
        model=" + ".join(plan.models),
        format=entry.name,
        seconds=round(time.monotonic() - start, 3),
    )


def _frames(
    upscaler: Upscaler, plan: Plan, picture: Picture, frames: int, progress: Progress | None
) -> Iterator[Iterator[NDArray[Any]]]:
    traits = picture.traits
    meter = Meter(plan.cost * frames * (2 if traits.alpha else 1), progress)
    # What is still to be reduced, or to be given another tone curve, is kept finer than 8 bits.
    fine = plan.reduced or traits.depth > 8
    dtype = np.dtype(np.uint16 if fine else np.uint8)
    for frame in range(frames):
        rows = upscaler.stream(
            plan,
            to_float(picture.rows(frame)),
            channels=traits.channels,
            alpha=traits.alpha,
            meter=meter,
        )
        yield _pieces(rows, dtype)


def _pieces(rows: Iterator[Array], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Bands as integers, in pieces so small that a queue of them costs nothing."""
    for band in rows:
        for top in range(0, len(band), _PIECE):
            yield to_integer(band[top : top + _PIECE], dtype)


def _check_disk(path: Path, plan: Plan, picture: Picture, frames: int, format: str) -> None:
    """Raise ``ImageWriteError`` when the result cannot fit on the disk, by a careful guess."""
    traits = picture.traits
    plain = plan.width * plan.height * frames * traits.bands * (2 if traits.stored_depth > 8 else 1)
    need = int(plain * _LEAST_SHARE.get(format, _LOSSY_SHARE))
    free = shutil.disk_usage(path.parent).free
    if need > free:
        raise ImageWriteError(
            f"{path} will take {need / 1e6:.0f} MB or more, {free / 1e6:.0f} MB are free; "
            "free some space or write to another disk"
        )

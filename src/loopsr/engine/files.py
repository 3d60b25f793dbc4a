"""Pictures in files: opened, planned, checked, then streamed from the decoder to the encoder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from loopsr.engine.deadline import Rest, bicubic_share, tell_of_bicubic
from loopsr.engine.pace import Pace
from loopsr.engine.passes import Meter, Progress, Turn, to_float, to_integer
from loopsr.engine.plan import Plan
from loopsr.engine.speed import HANDLING, codec_speed
from loopsr.engine.stepmap import StepMap
from loopsr.engine.tiling import Array
from loopsr.engine.upscaler import Upscaler
from loopsr.errors import ImageWriteError
from loopsr.io.formats import Encoding, Format, check_target
from loopsr.io.image import Picture, open_picture
from loopsr.io.limits import Limits
from loopsr.io.writer import check_writable, write_picture

_PIECE = 32  # rows that are handed to the encoder at a time
# The least that a format was seen to need of the samples' plain size, on photographs.
_LEAST_SHARE = {"ppm": 1.0, "tiff": 0.2, "png": 0.2, "gif": 0.1}
_LOSSY_SHARE = 0.02
_STREAMED = ("png", "tiff", "ppm")  # written while rows come; others do their work at the end


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
    # Mean steps of the network of the first pass, an input pixel; None where that is not known.
    steps: float | None = None
    bicubic: float = 0.0  # share that no network saw, for want of time


@dataclass(frozen=True, kw_only=True)
class OpenedFile:
    """A picture that was opened, planned and checked, so that only the work is left.

    ``frames`` are those that will be written; ``memory`` is what the work takes, in bytes.
    """

    picture: Picture
    plan: Plan
    entry: Format
    frames: int
    encoding: Encoding | None
    origin: str | Path | None  # None for bytes
    target: Path | BinaryIO
    pace: Pace | None = None
    steps: StepMap = field(default_factory=StepMap)  # filled while it is written

    @property
    def memory(self) -> int:
        """Bytes, estimated: the networks, the tiles and the rows that are held."""
        return self.plan.memory

    @property
    def cost(self) -> int:
        """Multiply-accumulates of the whole work, without the tiles' halos."""
        return self.plan.cost * self.copies

    @property
    def copies(self) -> int:
        """How often the passes run: for each frame, and for alpha once more."""
        return self.frames * (2 if self.picture.traits.alpha else 1)


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
    upscaler = upscaler or Upscaler()
    start = time.monotonic()
    opened = open_file(
        source,
        target,
        upscaler=upscaler,
        scale=scale,
        width=width,
        height=height,
        long_edge=long_edge,
        encoding=encoding,
        format=format,
        limits=limits,
    )
    result = write_file(opened, upscaler=upscaler, overwrite=overwrite, progress=progress)
    return replace(result, seconds=round(time.monotonic() - start, 3))


def open_file(
    source: str | Path | bytes,
    target: str | Path | BinaryIO,
    *,
    upscaler: Upscaler,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    long_edge: int | None = None,
    encoding: Encoding | None = None,
    format: str | None = None,
    limits: Limits | None = None,
) -> OpenedFile:
    """The first half of ``upscale_file``: all that can be known and checked from the header.

    Touches no file but the source. Raises as ``upscale_file`` does.
    """
    pace = upscaler.pace()
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
    opened = OpenedFile(
        picture=picture,
        plan=plan,
        entry=entry,
        frames=picture.frames if entry.animated else 1,
        encoding=encoding,
        origin=None if isinstance(source, bytes) else source,
        target=Path(target) if isinstance(target, str | Path) else target,
        pace=pace,
    )
    return replace(opened, plan=upscaler.in_time(plan, pace, _rest(opened))) if pace else opened


def _rest(opened: OpenedFile) -> Rest:
    """What decoding and encoding take, by a measurement of this machine."""
    picture, plan = opened.picture, opened.plan
    decode, _ = codec_speed(picture.source_format, None)
    _, encode = codec_speed(opened.entry.name, opened.encoding)
    seconds = decode * picture.width * picture.height
    seconds += (encode + HANDLING) * plan.width * plan.height
    return Rest(
        seconds=seconds * opened.frames,
        at_end=opened.entry.name not in _STREAMED,
        copies=opened.copies,
    )


def write_file(
    opened: OpenedFile,
    *,
    upscaler: Upscaler,
    overwrite: bool = False,
    progress: Progress | None = None,
    turn: Turn = nullcontext,
    seal: Callable[[Path], None] | None = None,
) -> FileResult:
    """The second half of ``upscale_file``: check the target, then compute and write.

    ``turn()`` gives a context that is held while a network runs, for pictures that are worked on at
    once; ``seal`` is given the complete file before it gets its name. Raises as ``upscale_file``.
    """
    start = time.monotonic()
    picture, plan = opened.picture, opened.plan
    if isinstance(opened.target, Path):
        check_writable(opened.target, overwrite=overwrite, source=opened.origin)
        check_disk(opened)
    write_picture(
        opened.target,
        _frames(upscaler, opened, progress, turn),
        width=plan.network_size[0],
        height=plan.network_size[1],
        traits=picture.traits,
        frame_count=opened.frames,
        resize_to=(plan.width, plan.height),
        encoding=opened.encoding,
        format=opened.entry.name,
        overwrite=overwrite,
        source=opened.origin,
        seal=seal,
        # A whole band may wait, after the head of the stream, so that the encoder works while the
        # network makes the next one.
        queued=1 + -(-plan.band_rows // _PIECE),
    )
    tell_of_bicubic(opened.pace, plan, opened.copies)
    return describe(opened, seconds=time.monotonic() - start)


def describe(opened: OpenedFile, *, seconds: float) -> FileResult:
    """What is, or will be, done to an opened picture."""
    picture, plan = opened.picture, opened.plan
    return FileResult(
        source="-" if opened.origin is None else str(opened.origin),
        target=str(opened.target) if isinstance(opened.target, Path) else "-",
        source_width=picture.width,
        source_height=picture.height,
        width=plan.width,
        height=plan.height,
        frames=opened.frames,
        model=" + ".join(plan.models),
        format=opened.entry.name,
        seconds=round(seconds, 3),
        steps=opened.steps.mean(),
        bicubic=bicubic_share(opened.pace, plan, opened.copies),
    )


def _frames(
    upscaler: Upscaler, opened: OpenedFile, progress: Progress | None, turn: Turn
) -> Iterator[Iterator[NDArray[Any]]]:
    plan, traits = opened.plan, opened.picture.traits
    opened.steps.unit = plan.stages[0].rule.cell if plan.stages[0].rule else 1
    meter = Meter(opened.cost, progress)
    # What is still to be reduced, or to be given another tone curve, is kept finer than 8 bits.
    fine = plan.reduced or traits.depth > 8
    dtype = np.dtype(np.uint16 if fine else np.uint8)
    for frame in range(opened.frames):
        rows = upscaler.stream(
            plan,
            to_float(opened.picture.rows(frame)),
            channels=traits.channels,
            alpha=traits.alpha,
            meter=meter,
            turn=turn,
            fine=traits.depth > 8,
            watch=opened.steps.add if frame == 0 else None,
            pace=opened.pace,
        )
        yield _pieces(rows, dtype)


def _pieces(rows: Iterator[Array], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Bands as integers, in pieces so small that a queue of them costs nothing."""
    for band in rows:
        for top in range(0, len(band), _PIECE):
            yield to_integer(band[top : top + _PIECE], dtype)
        del band  # it would live on while the next one is made


def check_disk(opened: OpenedFile) -> None:
    """Raise ``ImageWriteError`` when the result cannot fit on the disk, by a careful guess."""
    assert isinstance(opened.target, Path)
    traits, plan = opened.picture.traits, opened.plan
    samples = plan.width * plan.height * opened.frames * traits.bands
    plain = samples * (2 if traits.stored_depth > 8 else 1)
    need = int(plain * _LEAST_SHARE.get(opened.entry.name, _LOSSY_SHARE))
    free = shutil.disk_usage(opened.target.parent).free
    if need > free:
        raise ImageWriteError(
            f"{opened.target} will take {_amount(need)} or more, {_amount(free)} are free; "
            "free some space or write to another disk"
        )


def _amount(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count >= 1e7 else f"{count / 1e3:.0f} kB"

"""Write a picture: beside its target first, complete, then renamed; nothing half-done stays."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from loopsr.errors import ImageWriteError
from loopsr.io.encode import QUEUED, encode
from loopsr.io.exif import resized_exif
from loopsr.io.finish import checked_rows, frame_rows, stored_image
from loopsr.io.formats import Encoding, Format, checked_format
from loopsr.io.metadata import kept_blocks
from loopsr.io.parts import part_beside
from loopsr.io.pngstream import png_body, png_head
from loopsr.io.tiff import add_to_tiff
from loopsr.io.traits import Traits

Frames = Iterable[Iterable[NDArray[Any]]]


def write_picture(
    target: Path | str | BinaryIO | None,
    frames: Frames,
    *,
    width: int,
    height: int,
    traits: Traits,
    frame_count: int | None = None,
    resize_to: tuple[int, int] | None = None,
    encoding: Encoding | None = None,
    format: str | None = None,
    overwrite: bool = False,
    source: Path | str | None = None,
    seal: Callable[[Path], None] | None = None,
    queued: int = QUEUED,
) -> bytes | None:
    """Encode frames of rows to a file, to a binary stream, or (target None) to bytes.

    Each frame is an iterable of bands (h, width, channels [+ alpha]), uint8 or uint16, `height`
    rows in all; frames that `len()` cannot count need `frame_count` (a still: 1). Rows are pulled
    in the caller's thread, at most `queued` bands before they are encoded. `resize_to` (w, h) is
    the final size. `format` names the format where the target has no telling name. `source` is the
    file that the picture came from: it is never written over. `seal` is given the file when it is
    complete and on the disk, before it gets its name. What a format cannot keep is said by
    `check_target`, which is to be called before any computing.

    Raises ImageWriteError, UsageError, and whatever the rows raise; then no file is left behind.
    """
    encoding = encoding or Encoding()
    path = Path(target) if isinstance(target, str | Path) else None
    count = frame_count or (len(frames) if isinstance(frames, Sized) else 1)
    final = resize_to or (width, height)
    entry = checked_format(
        format or (path if path is not None else "png"),
        width=final[0],
        height=final[1],
        encoding=encoding,
    )
    count = count if entry.animated else 1
    job = _Job(entry, encoding, traits, width, height, count, final, queued)
    frames = itertools.islice(iter(frames), count)
    if path is not None:
        check_writable(path, overwrite=overwrite, source=source)
        _write_beside(path, lambda part: job.run(part, frames), overwrite=overwrite, seal=seal)
        return None
    with tempfile.TemporaryDirectory(prefix="loopsr-") as folder:
        part = Path(folder) / "picture"
        job.run(part, frames)
        if target is None:
            return part.read_bytes()
        with part.open("rb") as done:
            shutil.copyfileobj(done, target, 1 << 20)  # type: ignore[arg-type]
    return None


def check_writable(
    path: Path, *, overwrite: bool = False, source: Path | str | None = None
) -> None:
    """Raise ImageWriteError when `path` cannot or must not be written to; touches nothing."""
    try:
        _check_place(path, overwrite=overwrite, source=source)
    except OSError as error:
        raise ImageWriteError(_os_reason(path, error)) from None


def _check_place(path: Path, *, overwrite: bool, source: Path | str | None) -> None:
    if source is not None and same_file(path, Path(source)):
        raise ImageWriteError(
            f"{path}: this is the input itself, which is never overwritten; give another name"
        )
    if path.is_dir():
        raise ImageWriteError(f"{path}: this is a folder; give the name of a file in it")
    if os.path.lexists(path):
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise ImageWriteError(f"{path}: this is no regular file; use - to write to stdout")
        if not overwrite:
            raise ImageWriteError(f"{path}: the file exists; choose another name or --overwrite")
    folder = path.parent
    if not folder.is_dir():
        raise ImageWriteError(f"{path}: there is no folder {folder}; make it first")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ImageWriteError(
            f"{str(path)!r}: the name is not valid UTF-8; choose another name"
        ) from None


class _Job:
    """One picture to encode; `run` does it once."""

    def __init__(
        self,
        entry: Format,
        encoding: Encoding,
        traits: Traits,
        width: int,
        height: int,
        count: int,
        final: tuple[int, int],
        queued: int,
    ) -> None:
        self._entry = entry
        self._encoding = encoding
        self._traits = traits
        self._width = width
        self._height = height
        self._count = count
        self._final = final
        self._queued = queued

    def run(self, part: Path, frames: Iterator[Iterable[NDArray[Any]]]) -> None:
        animated = self._count > 1
        width, height = self._width, self._height
        if animated:
            rows: Iterator[NDArray[Any]] = frame_rows(
                frames, width=width, height=height, traits=self._traits, resize_to=self._final
            )
            width, height = self._final[0], self._final[1] * self._count
        else:
            first = next(iter(frames), iter(()))
            rows = checked_rows(first, width=width, height=height, traits=self._traits)
        resize_to = None if animated else self._final
        page_height = self._final[1] if animated else None
        bits = min(self._entry.bits, self._traits.stored_depth)
        size = self._final[0] * self._final[1] * 4 * (2 if bits > 8 else 1)
        metadata = self._traits.metadata
        options = self._entry.options(self._encoding, bits, size)
        if self._entry.saver is not None:
            options["keep"] = kept_blocks(metadata, self._entry)
        encode(
            part,
            self._stream(rows, width, height),
            self._entry,
            options,
            prepare=lambda image: stored_image(
                image, self._entry, self._traits, resize_to=resize_to, page_height=page_height
            ),
            queued=self._queued,
        )
        if self._entry.name == "tiff":
            add_to_tiff(part, exif=self._exif(), iptc=metadata.iptc)

    def _exif(self) -> bytes | None:
        block = self._traits.metadata.exif
        if not block:
            return None
        return resized_exif(block, width=self._final[0], height=self._final[1])

    def _stream(self, rows: Iterator[NDArray[Any]], width: int, height: int) -> Iterator[bytes]:
        first = next(rows, None)
        if first is None:
            raise ImageWriteError("got no rows to write; this is a fault of the caller")
        exif = self._exif() if "exif" in self._entry.keeps else None
        depth = 16 if first.dtype == np.uint16 else 8
        yield png_head(width=width, height=height, bands=first.shape[2], depth=depth, exif=exif)
        yield from png_body(itertools.chain((first,), rows))


def _write_beside(
    path: Path,
    fill: Callable[[Path], None],
    *,
    overwrite: bool,
    seal: Callable[[Path], None] | None,
) -> None:
    """Let `fill` write a temporary file beside `path`, then put it there in one step."""
    try:
        with part_beside(path) as part:
            fill(part)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            if seal is not None:
                seal(part)
            _put(part, path, overwrite=overwrite)
    except OSError as error:
        raise ImageWriteError(_os_reason(path, error)) from None


def _put(part: Path, path: Path, *, overwrite: bool) -> None:
    if overwrite:
        if path.is_file():
            part.chmod(stat.S_IMODE(path.stat().st_mode))
        part.replace(path)
        return
    try:
        os.link(part, path)  # unlike a rename, this never replaces what came up meanwhile
    except FileExistsError:
        raise ImageWriteError(
            f"{path}: the file came up meanwhile; choose another name or --overwrite"
        ) from None
    except OSError:  # a file system without hard links
        part.replace(path)


def same_file(path: Path, source: Path) -> bool:
    """Whether two paths lead to one file that exists, by a link of either kind too."""
    try:
        return path.samefile(source)
    except OSError:
        return False


def _os_reason(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path}: the disk is full; free some space or write elsewhere"
    if error.errno == errno.EROFS:
        return f"{path}: the disk is read-only; write elsewhere"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{path}: the folder may not be written to; check its permissions or write elsewhere"
    if error.errno == errno.ENAMETOOLONG:
        return f"{path.name[:40]}...: the name is too long; choose a shorter one"
    return f"{path}: cannot be written ({error.strerror or error}); write elsewhere"

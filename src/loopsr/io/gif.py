"""Is a GIF complete? libvips shows the frames of a cut one as if there had never been more."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

from loopsr.errors import ImageReadError


def check_gif_end(source: Path | bytes, *, name: str) -> None:
    """Walk a GIF's blocks up to its trailer; raise ImageReadError when it ends before.

    Source: GIF89a specification. Nothing is decoded; what follows the trailer is not looked at.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        if not _complete(file):
            raise ImageReadError(
                f"{name}: the gif data is broken or cut short (no end mark); "
                "copy or download the file again"
            )


def _complete(file: BinaryIO) -> bool:
    head = file.read(13)
    if len(head) < 13:
        return False
    file.seek(_table_bytes(head[10]), 1)
    while True:
        mark = file.read(1)
        if mark == b"\x3b":
            return True
        if mark == b"\x21":  # an extension: one label byte, then sub-blocks
            file.read(1)
        elif mark == b"\x2c":  # a frame: descriptor, its colours, code size, then sub-blocks
            descriptor = file.read(9)
            if len(descriptor) < 9:
                return False
            file.seek(_table_bytes(descriptor[8]) + 1, 1)
        else:
            return False
        if not _skip_blocks(file):
            return False


def _table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(file: BinaryIO) -> bool:
    while size := file.read(1):
        if size == b"\0":
            return True
        if len(file.read(size[0])) < size[0]:
            return False
    return False

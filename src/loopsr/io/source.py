"""The first bytes of a file, and in plain words why it cannot be a picture."""

from __future__ import annotations

import stat
from pathlib import Path

from loopsr.errors import ImageReadError
from loopsr.io.limits import Limits
from loopsr.io.sniff import guess_foreign, sniff

_HEAD = 65536 + 64


def read_head(source: Path | bytes, *, name: str, limits: Limits) -> tuple[str, bytes]:
    """The format that the content shows, and the first 64 KiB; raises ImageReadError."""
    if isinstance(source, bytes):
        size, head = len(source), source[:_HEAD]
    else:
        size, head = _head_of_file(source, name)
    if size == 0:
        raise ImageReadError(f"{name}: the file is empty; copy or download it again")
    if size > limits.max_bytes:
        raise ImageReadError(
            f"{name}: {size} bytes, at most {limits.max_bytes} are allowed (max_bytes); "
            "if you trust the file, raise it with Limits(...)"
        )
    kind = sniff(head[:64])
    if kind is None:
        raise ImageReadError(
            f"{name}: this is {guess_foreign(head[:64])}, not a picture that can be read; "
            "convert it to PNG, JPEG, WebP, TIFF, AVIF, GIF or PPM"
        )
    return kind, head


def _head_of_file(path: Path, name: str) -> tuple[int, bytes]:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageReadError(f"{name}: this is a folder; name a picture in it")
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device would hang or never end
            raise ImageReadError(f"{name}: this is no regular file; use - to read from stdin")
        with path.open("rb") as file:
            return status.st_size, file.read(_HEAD)
    except FileNotFoundError:
        raise ImageReadError(f"{path}: no such file; check the name") from None
    except PermissionError:
        raise ImageReadError(f"{path}: may not be read; check its permissions") from None
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise ImageReadError(f"{path}: cannot be read ({said}); check the disk") from None

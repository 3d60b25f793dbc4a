"""Unfinished results: hidden files beside their target, locked by the process that writes them.

A process that is killed leaves its part behind, without the lock: so the next run can tell it from
one that is being written, whoever writes it, and remove it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loopsr.io.lock import try_lock

logger = logging.getLogger("loopsr.io")

_END = ".loopsr.part"
_NAME = re.compile(r"\..{0,40}\.[0-9a-f]{8}" + re.escape(_END), re.DOTALL)
_TRIES = 5
# No link is followed, no pipe waited for: what was planted under such a name stays.
_CAREFUL = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@contextmanager
def part_beside(path: Path) -> Iterator[Path]:
    """An empty, locked file beside `path` to fill; removed in the end unless it was renamed.

    Raises OSError when it cannot be made.
    """
    part, lock = _make(path)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears when it is complete. Raises OSError, which names it."""
    try:
        with part_beside(path) as part:
            part.write_bytes(data)
            part.replace(path)
    except OSError as error:  # of a full disk it does not know where
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _make(path: Path) -> tuple[Path, int | None]:
    for _ in range(_TRIES):
        part = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}{_END}")
        # Made here, so that the file has the rights that the umask asks for.
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        try:
            try_lock(descriptor)
        except OSError:  # no locks here: then nobody removes parts either
            os.close(descriptor)
            return part, None
        # Another run that tidies up may have come between the two lines above.
        if os.fstat(descriptor).st_nlink:
            return part, descriptor
        os.close(descriptor)
    raise OSError(f"temporary files in {path.parent} vanish as soon as they are made")


def remove_stale(folder: Path) -> list[Path]:
    """Remove the parts in a folder that no running process writes; gives those that were removed.

    Where the file system has no locks, and where files may not be removed, nothing is.
    """
    removed = []
    try:
        found = [entry.name for entry in os.scandir(folder) if _NAME.fullmatch(entry.name)]
    except OSError:
        return []
    for name in found:
        part = folder / name
        with contextlib.suppress(OSError):
            if _remove(part):
                logger.info("%s: left by a run that was killed; removed", part)
                removed.append(part)
    return removed


def _remove(part: Path) -> bool:
    descriptor = os.open(part, os.O_RDONLY | _CAREFUL)
    try:
        if not try_lock(descriptor):
            return False
        part.unlink()
        return True
    finally:
        os.close(descriptor)

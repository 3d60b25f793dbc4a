"""The hidden folder beside a result in the works: finished segments, and what they belong to."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any, Self

from loopsr.errors import UsageError, VideoReadError, VideoWriteError
from loopsr.io.lock import try_lock
from loopsr.io.video.segments import Segment, read_segment, write_segment

log = logging.getLogger(__name__)
_ENDS = 1 << 20  # bytes at both ends of the source that are part of its identity


class WorkFolder:
    """The segments of one result; use as a context manager, which holds a lock on it.

    Work of other settings or of another source is thrown away when the folder is opened. Raises
    ``UsageError`` while another process works there, ``VideoWriteError`` when nothing can be
    written.
    """

    def __init__(self, target: Path, identity: dict[str, Any]) -> None:
        self.path = target.with_name(f".{target.name}.loopsr")
        self._target = target
        self._identity = json.loads(json.dumps(identity))  # as it will be read again
        self._lock = -1
        self._known: dict[int, tuple[int, int]] = {}  # number -> first time, frames

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o666)
            self._take_lock()
            self._recognise()
        except OSError as error:
            self._close()
            raise disk_error(self._target, error) from None
        except UsageError:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if not self._known:
            self.remove()
        self._close()

    def find(self, number: int) -> tuple[int, int] | None:
        """The first timestamp and the number of frames of a finished segment, None if it is not."""
        return self._known.get(number)

    def segment(self, number: int) -> Path:
        """Where a segment lies."""
        return self.path / f"{number:06}.segment"

    def store(self, number: int, segment: Segment) -> None:
        """Keep a finished segment. Raises ``VideoWriteError``."""
        try:
            write_segment(self.segment(number), segment)
        except OSError as error:
            raise disk_error(self._target, error) from None
        self._known[number] = _facts(segment)

    def forget(self, number: int) -> None:
        """Drop a segment that turned out not to fit the source."""
        self._known.pop(number, None)
        self.segment(number).unlink(missing_ok=True)

    @property
    def frames(self) -> int:
        """Frames in all finished segments."""
        return sum(frames for _, frames in self._known.values())

    @property
    def total(self) -> int | None:
        """How many segments there are, once the source was read to its end."""
        try:
            count = json.loads((self.path / "total.json").read_text())
        except (OSError, ValueError):
            return None
        whole = isinstance(count, int) and all(number in self._known for number in range(count))
        return count if whole else None

    @total.setter
    def total(self, count: int) -> None:
        self._write("total.json", count)

    def remove(self) -> None:
        """Throw the folder away; the result is complete."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._known.clear()

    def _take_lock(self) -> None:
        try:
            free = try_lock(self._lock)
        except OSError:  # a file system without locks: two runs at once are the user's to avoid
            free = True
        if not free:
            raise UsageError(
                f"another run works on {self._target} right now; wait for it, or pass another -o"
            )

    def _recognise(self) -> None:
        """Take over what fits, throw away what does not."""
        try:
            same = json.loads((self.path / "work.json").read_text()) == self._identity
        except (OSError, ValueError):
            same = False
        found = sorted(self.path.glob("*.segment"))
        if not same:
            if found:
                log.warning(
                    "%s: the source or the settings changed since the last run; it starts afresh",
                    self._target,
                )
            for path in (*found, self.path / "total.json"):
                path.unlink(missing_ok=True)
            self._write("work.json", self._identity)
            return
        for path in found:
            try:
                self._known[int(path.stem)] = _facts(read_segment(path))
            except (VideoReadError, ValueError):
                path.unlink(missing_ok=True)

    def _write(self, name: str, value: Any) -> None:
        part = self.path / f"{name}.part"
        try:
            with part.open("w") as file:
                json.dump(value, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path / name)
        except OSError as error:
            raise disk_error(self._target, error) from None

    def _close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def source_identity(path: Path) -> dict[str, Any]:
    """What tells a source from another one: length, time, and a digest of both its ends.

    Raises ``OSError``.
    """
    status = path.stat()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(_ENDS))
        file.seek(max(0, status.st_size - _ENDS))
        digest.update(file.read(_ENDS))
    return {
        "path": str(path.absolute()),
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ends": digest.hexdigest(),
    }


def disk_error(target: Path, error: OSError) -> VideoWriteError:
    """The error that a user sees when the system refuses to write beside ``target``."""
    reason = error.strerror or str(error)
    return VideoWriteError(
        f"{target}: cannot be written ({reason}); what is finished is kept, "
        "free some space or check the folder, then type the same command"
    )


def _facts(segment: Segment) -> tuple[int, int]:
    return min(packet.pts for packet in segment.packets), segment.frames

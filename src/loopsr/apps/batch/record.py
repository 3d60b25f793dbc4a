"""The record of a folder of results: one JSON line for each, so that a run can go on.

``.loopsr.jsonl`` only ever grows. A line says which file was made of which source with which
settings, with lengths and digests, and is on the disk before the result gets its name: so a result
without its line was not made by us. A line that was torn by a kill or a full disk is passed over.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self, final

from loopsr.errors import ImageWriteError, UsageError
from loopsr.io.lock import try_lock

NAME = ".loopsr.jsonl"
_LONGEST = 1 << 16  # bytes of a line that is believed
_PIECE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Content:
    """What identifies a file's content: its length, and the digest of all of it."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A source as it was read; the same path, length and time stand for the same content.

    Of an address the store tells the length and the ``tag``, and there is no time and no digest.
    """

    path: str  # absolute, or an address
    bytes: int
    mtime_ns: int
    sha256: str
    tag: str = ""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One result. ``result`` has the keys of ``FileResult``, ``cost`` is the networks' work."""

    key: str  # the result's name below the folder
    origin: Origin
    settings: str  # as ``settings.fingerprint`` gives it
    content: Content
    result: dict[str, Any]
    cost: int
    at: float  # seconds since 1970 when it was complete
    run: str  # the same for all results of one run

    def line(self) -> str:
        """The entry as one line of JSON, without the line's end."""
        return json.dumps(asdict(self), sort_keys=True)


def content_of(path: Path) -> Content:
    """Length and SHA-256 of a file. Raises OSError."""
    digest, length = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            length += len(piece)
    return Content(bytes=length, sha256=digest.hexdigest())


def absolute(source: str) -> str:
    """A source's name that holds in every folder."""
    from loopsr.io import remote

    return source if remote.is_address(source) else str(Path(source).absolute())


def origin_of(source: str) -> Origin:
    """The identity of a source. Raises OSError; of an address ``ImageReadError``."""
    from loopsr.io import remote  # slow import: not for --help

    if remote.is_address(source):
        there = remote.status(source)
        if there is None:
            raise FileNotFoundError(source)
        return Origin(path=source, bytes=there.bytes, mtime_ns=0, sha256="", tag=there.tag)
    path = Path(source)
    status = path.stat()
    content = content_of(path)
    return Origin(
        path=absolute(source),
        bytes=content.bytes,
        mtime_ns=status.st_mtime_ns,
        sha256=content.sha256,
    )


def is_same(origin: Origin, source: str) -> bool:
    """Whether a source is still the file that it was; its content decides if its time differs."""
    from loopsr.io import remote

    if remote.is_address(source):
        there = remote.status(source)
        if there is None or not there.tag:
            return False
        return (there.bytes, there.tag) == (origin.bytes, origin.tag)
    try:
        status = Path(source).stat()
        if status.st_size != origin.bytes:
            return False
        if absolute(source) == origin.path and status.st_mtime_ns == origin.mtime_ns:
            return True
        return content_of(Path(source)).sha256 == origin.sha256
    except OSError:
        return False


def is_intact(entry: Entry, target: str | Path) -> bool:
    """Whether a result is, to the last byte, what was written.

    At an address the store vouches for the content, and the entry came with it.
    """
    from loopsr.io import remote

    if remote.is_address(target):
        there = remote.status(str(target))
        return there is not None and there.bytes == entry.content.bytes
    try:
        return (
            Path(target).stat().st_size == entry.content.bytes
            and content_of(Path(target)) == entry.content
        )
    except OSError:
        return False


class Ledger(Protocol):
    """Remembers results by their keys: in a file, with the objects of a store, elsewhere."""

    def find(self, key: str) -> Entry | None:
        """The last entry of a result, None if there is none."""

    def entries(self) -> Iterator[Entry]:
        """The last entry of every result, as far as they can be listed."""

    def add(self, entry: Entry) -> None:
        """Note a result before it gets its name. Raises OSError."""

    def close(self) -> None:
        """Let go of what is held."""


@final
class Record:
    """The record of one folder; safe to share by threads. Close it, or use it in a ``with``.

    Only where each line lies is held in memory.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._places: dict[str, int] = {}
        self._torn = False
        self._scan()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, which gives its lock back."""
        os.close(self._descriptor)

    def find(self, key: str) -> Entry | None:
        """The last entry of a result, None if there is none."""
        with self._lock:
            place = self._places.get(key)
            return None if place is None else self._read(place)

    def entries(self) -> Iterator[Entry]:
        """The last entry of every result, in no order that matters."""
        for key in list(self._places):
            entry = self.find(key)
            if entry is not None:
                yield entry

    def add(self, entry: Entry) -> None:
        """Append an entry; it is on the disk when this returns. Raises OSError."""
        line = entry.line().encode() + b"\n"
        with self._lock:
            start = os.lseek(self._descriptor, 0, os.SEEK_END)
            if self._torn:
                line, start = b"\n" + line, start + 1
            written = 0
            try:
                while written < len(line):
                    count = os.write(self._descriptor, line[written:])
                    if not count:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    written += count
                os.fsync(self._descriptor)
            except OSError:
                self._torn = True  # whatever of the line is there: the next one starts afresh
                raise
            self._torn = False
            self._places[entry.key] = start

    def _read(self, place: int) -> Entry | None:
        os.lseek(self._descriptor, place, os.SEEK_SET)
        data = os.read(self._descriptor, _LONGEST)
        return parsed(data.partition(b"\n")[0])

    def _scan(self) -> None:
        """Note where the last whole line of every result lies."""
        place, end = 0, b"\n"
        with open(self._descriptor, "rb", closefd=False) as file:
            while line := file.readline(_LONGEST):
                entry = parsed(line)
                if entry is not None:
                    self._places[entry.key] = place
                place += len(line)
                end = line[-1:]
        self._torn = end != b"\n"


def open_record(folder: Path) -> Record:
    """Open the record of a folder for a run, and make the folder and the file where there are none.

    Raises ``UsageError`` while another process writes into the folder, ``ImageWriteError``.
    """
    path = folder / NAME
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        raise ImageWriteError(
            f"{path} cannot be opened ({error.strerror}); check the folder, or pass another -o"
        ) from None
    try:
        mine = try_lock(descriptor)
    except OSError:  # a file system without locks: two runs at once are the user's to avoid
        mine = True
    if not mine:
        os.close(descriptor)
        raise UsageError(
            f"another run writes into {folder} right now; wait for it, or pass another -o"
        )
    return Record(path, descriptor)


def read_record(folder: Path) -> Record | None:
    """The record of a folder to look things up; None if there is none. Changes nothing."""
    try:
        return Record(folder / NAME, os.open(folder / NAME, os.O_RDONLY))
    except OSError:
        return None


def parsed(line: bytes) -> Entry | None:
    """The entry of a line; None for what is torn, of another version or no entry at all."""
    try:
        values = json.loads(line)
        values["origin"] = Origin(**values["origin"])
        values["content"] = Content(**values["content"])
        entry = Entry(**values)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    whole = isinstance(entry.key, str) and isinstance(entry.result, dict)
    return entry if whole and isinstance(entry.cost, int | float) else None

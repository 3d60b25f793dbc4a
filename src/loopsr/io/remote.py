"""Files at addresses, such as ``s3://bucket/photo.jpg``, through fsspec; nobody else speaks to it.

A name with a scheme of two letters or more and ``://`` is an address, anything else a path of this
machine, and neither is ever taken for the other. ``file://`` is a path too: it says that other
machines see the same files there.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopsr.errors import (
    ImageError,
    ImageReadError,
    ImageWriteError,
    LoopsrError,
    MissingExtraError,
    UsageError,
    first_line,
)

_ADDRESS = re.compile(r"([a-z][a-z0-9+.\-]+)://", re.I | re.A)
_LOCAL = re.compile(r"(file|local)://", re.I | re.A)
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
# Stores where an object appears complete or not at all, and how each is told to keep a note.
_NOTE = "loopsr"
_STORES: dict[str, Callable[[str], dict[str, Any]]] = {
    "s3": lambda note: {"Metadata": {_NOTE: note}},
    "s3a": lambda note: {"Metadata": {_NOTE: note}},
    "gs": lambda note: {"metadata": {_NOTE: note}},
    "gcs": lambda note: {"metadata": {_NOTE: note}},
}
# By what a store tells one content of a name from another, the best first.
_TAGS = ("ETag", "etag", "md5Hash", "crc32c", "mtime", "LastModified", "last_modified", "created")


@dataclass(frozen=True, kw_only=True)
class Status:
    """What a store says of an object. ``tag`` changes with its content, "" if there is none."""

    bytes: int
    tag: str
    folder: bool


def is_address(name: str | Path) -> bool:
    """Whether a name is an address; one with ``file://`` and a ``Path`` are not."""
    if isinstance(name, Path):
        return False
    return _ADDRESS.match(name) is not None and _LOCAL.match(name) is None


def is_shared(name: str) -> bool:
    """Whether a name promises that other machines see the same: an address, or ``file://``."""
    return _ADDRESS.match(name) is not None


def without_file_scheme(name: str) -> str:
    """``file:///a/b`` as ``/a/b``, taken literally; other names as they are.

    Raises ``UsageError`` for one that names a host or a relative path.
    """
    match = _LOCAL.match(name)
    if match is None:
        return name
    path = name[match.end() :]
    if not path.startswith("/"):
        raise UsageError(f"{name} is no file on this machine; write file:///FOLDER/FILE")
    return path


def keeps_notes(address: str) -> bool:
    """Whether a note can be kept with an object: then a run can go on where it stopped."""
    return _scheme(address) in _STORES


def status(address: str) -> Status | None:
    """What lies at an address; None for nothing. Raises ``ImageReadError``."""
    system, path = _open(address)
    with _telling(address, ImageReadError, "cannot be looked at"):
        try:
            facts = system.info(path)
        except FileNotFoundError:
            return None
        folder = facts["type"] == "directory"
        tag = next((str(facts[key]) for key in _TAGS if facts.get(key)), "")
        return Status(bytes=int(facts["size"] or 0), tag=tag.strip('"'), folder=folder)


def list_files(folder: str) -> list[str]:
    """The addresses of all files below a folder, sorted. Raises ``ImageReadError``."""
    system, path = _open(folder)
    with _telling(folder, ImageReadError, "cannot be listed"):
        start = path.rstrip("/") + "/"
        names = sorted(name for name in system.find(path) if name.startswith(start))
        return [f"{folder.rstrip('/')}/{name[len(start) :]}" for name in names]


def match_files(pattern: str) -> list[str]:
    """The addresses of the files that match a glob, sorted. Raises ``ImageReadError``."""
    system, _ = _open(pattern)
    scheme = pattern[: pattern.index("://") + 3]
    path = pattern[len(scheme) :]
    with _telling(pattern, ImageReadError, "cannot be listed"):
        found = system.glob(path, detail=True)
        files = (name for name, facts in found.items() if facts["type"] == "file")
        return sorted(scheme + name.lstrip("/") for name in files)


def fetch(address: str, target: Path) -> None:
    """Copy an object into a file. Raises ``ImageReadError``."""
    system, path = _open(address)
    with _telling(address, ImageReadError, "cannot be read"):
        if system.isdir(path):
            raise ImageReadError(f"{address}: this is a folder; pass -r for the pictures in it")
        system.get_file(path, str(target))


def send(source: Path, address: str, *, note: str = "") -> None:
    """Copy a file to an address, where it appears complete or not at all.

    ``note``, ASCII of up to 2,000 bytes, is kept with it where the store can (see
    ``keeps_notes``). What lies there is replaced. Raises ``ImageWriteError``.
    """
    system, path = _open(address)
    store = _STORES.get(_scheme(address))
    with _telling(address, ImageWriteError, "cannot be written"):
        if store is not None:
            system.put_file(str(source), path, **(store(note) if note else {}))
            return
        folder, _, name = path.rpartition("/")
        part = f"{folder}/.{name}.loopsr.part"
        if folder:
            system.makedirs(folder, exist_ok=True)
        system.put_file(str(source), part)
        system.mv(part, path)


def note_of(address: str) -> str | None:
    """The note that was kept with an object; None without one. Raises ``ImageReadError``."""
    if not keeps_notes(address):
        return None
    system, path = _open(address)
    with _telling(address, ImageReadError, "cannot be looked at"):
        try:
            if hasattr(system, "metadata"):
                facts = system.metadata(path)
            else:
                facts = system.info(path).get("metadata") or {}
        except FileNotFoundError:
            return None
        note = facts.get(_NOTE)
        return note if isinstance(note, str) else None


def _scheme(address: str) -> str:
    match = _ADDRESS.match(address)
    return match[1].lower() if match else ""


def _open(address: str) -> tuple[Any, str]:
    """The file system of an address and the path in it; nothing is remembered of its folders."""
    scheme = _scheme(address)
    extra = _EXTRAS.get(scheme, "remote")
    try:
        core: Any = importlib.import_module("fsspec.core")
        system, path = core.url_to_fs(address, use_listings_cache=False)
    except ImportError:
        raise MissingExtraError(f"{scheme}://", extra) from None
    except ValueError as error:
        raise UsageError(
            f"{address}: {first_line(error)}; an address starts like s3:// or gs://"
        ) from None
    except Exception as error:  # every store has its own classes
        raise ImageError(f"{address}: {first_line(error)}; check the address") from error
    return system, path


@contextmanager
def _telling(address: str, kind: type[ImageError], what: str) -> Iterator[None]:
    """Turn what a store raises, of any class, into one line of our own."""
    try:
        yield
    except (LoopsrError, MemoryError):
        raise
    except FileNotFoundError:
        if kind is ImageWriteError:
            raise kind(f"{address}: there is no such bucket or folder; make it first") from None
        raise kind(f"{address}: no such file; check the address") from None
    except PermissionError:
        raise kind(f"{address}: {what} (not allowed); check the credentials") from None
    except Exception as error:  # every store has its own classes
        raise kind(
            f"{address}: {what} ({first_line(error)}); check the address, the network and the "
            "credentials"
        ) from error

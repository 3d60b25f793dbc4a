"""The record of a folder at an address: each result carries its own entry, as a note of the store.

So the entry appears with the result, in one request, and goes with it when somebody replaces it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, final

from loopsr.apps.batch.record import Content, Entry, Origin, Record, open_record, read_record

_LONGEST = 1_900  # bytes; S3 takes 2 kB of notes, names included
_NAMES = ("source", "target")


@final
class RemoteRecord:
    """Looks the entries up where they are; the interface of ``Record``."""

    def __init__(self, folder: str) -> None:
        self._folder = folder.rstrip("/")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held."""

    def find(self, key: str) -> Entry | None:
        """The entry of a result, None if there is none. Raises ``ImageReadError``."""
        from loopsr.io import remote

        note = remote.note_of(f"{self._folder}/{key}")
        return None if note is None else entry_of(note, key)

    def entries(self) -> Iterator[Entry]:
        """None: to list them all would take a request for each."""
        return iter(())

    def add(self, entry: Entry) -> None:
        """Nothing: the entry is sent with its result."""


def note_of(entry: Entry) -> str:
    """An entry as a note, ASCII: without the names, which the result's own name gives again.

    "" for one that is too long to be kept.
    """
    facts = asdict(entry)
    del facts["key"], facts["origin"]["path"]
    facts["result"] = {k: v for k, v in entry.result.items() if k not in _NAMES}
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return text if len(text) <= _LONGEST else ""


def entry_of(note: str, key: str) -> Entry | None:
    """The entry in a note; None for a note that holds none."""
    try:
        facts: dict[str, Any] = json.loads(note)
        facts["origin"] = Origin(path="", **facts["origin"])
        facts["content"] = Content(**facts["content"])
        entry = Entry(key=key, **facts)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return entry if isinstance(entry.result, dict) else None


def open_ledger(folder: str | Path) -> Record | RemoteRecord:
    """The record of a folder of results, a path or an address, for a run; as ``open_record``."""
    from loopsr.io import remote  # slow import: not for --help

    if remote.is_address(folder):
        return RemoteRecord(str(folder))
    return open_record(Path(folder))


def read_ledger(folder: str | Path) -> Record | RemoteRecord | None:
    """The record of a folder of results to look things up; as ``read_record``."""
    from loopsr.io import remote

    if remote.is_address(folder):
        return RemoteRecord(str(folder))
    return read_record(Path(folder))

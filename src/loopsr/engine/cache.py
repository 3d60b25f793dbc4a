"""Measurements of this machine that are kept between runs, in one JSON file."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loopsr.io.cache import cache_folder
from loopsr.io.parts import write_whole

_KEPT = 100  # measurements


def cache_file() -> Path:
    """Where measurements are kept."""
    return cache_folder() / "backends.json"


def key_of(facts: Sequence[Any]) -> str:
    """The key of a measurement that depends on these facts, which are JSON-able."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def load() -> dict[str, Any]:
    """All that is kept, by key."""
    try:
        known = json.loads(cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError, RecursionError):
        return {}  # none yet, or damaged: then it is measured again
    return known if isinstance(known, dict) else {}


def store(key: str, rows: list[dict[str, Any]]) -> None:
    """Keep a measurement; a folder that cannot be written to only means measuring again."""
    path = cache_file()
    known = {**load(), key: rows}
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(dict(list(known.items())[-_KEPT:]), indent=1).encode())

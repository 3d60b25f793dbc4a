"""Benchmark sets: a folder, or the name of one in the folder where a user keeps the sets."""

from __future__ import annotations

import os
from pathlib import Path

from loopsr.data.sources import find_pictures
from loopsr.errors import UnknownNameError, UsageError

ENVIRONMENT = "LOOPSR_DATA"


def find_set(name: str | Path, *, root: str | Path | None = None) -> Path:
    """The folder of a set: ``name`` itself where it is a folder, else ``root`` / ``name``.

    ``root`` None takes ``$LOOPSR_DATA``. Raises ``UsageError``, and ``UnknownNameError`` with the
    nearest of the sets that are there.
    """
    if Path(name).exists():
        return Path(name)
    root = root or os.environ.get(ENVIRONMENT)
    if root is None:
        raise UsageError(
            f"no folder {str(name)!r}; pass a folder of pictures, or say where your sets lie: "
            f"--data-root FOLDER, or {ENVIRONMENT} in the environment"
        )
    if not Path(root).is_dir():
        raise UsageError(
            f"no folder {str(root)!r} to look for the set {str(name)!r} in; pass another "
            f"--data-root, or correct {ENVIRONMENT}"
        )
    folder = Path(root) / name
    if not folder.exists():
        known = [p.name for p in Path(root).iterdir() if p.is_dir() and p.name[0] != "."]
        if not known:
            raise UsageError(f"{root} holds no folder, so no set {str(name)!r}; pass a folder")
        raise UnknownNameError("data set", str(name), known)
    return folder


def pictures_of(folder: Path) -> list[Path]:
    """The sharp pictures of a set: those in its folder ``HR`` when it has one."""
    return find_pictures([folder / "HR" if (folder / "HR").is_dir() else folder])

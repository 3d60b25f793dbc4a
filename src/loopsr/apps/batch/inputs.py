"""From what the user typed to files: folders, globs, lists."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loopsr.apps.batch.jobs import STREAM
from loopsr.apps.batch.kinds import is_known
from loopsr.errors import UsageError

_MAX_LIST = 1 << 28  # bytes of a list of names
_MAGIC = frozenset("*?[")


@dataclass(frozen=True)
class Source:
    """One input; ``below`` is the folder that it has in a mirrored tree, "" for the top."""

    path: str
    below: str = ""


@dataclass
class Found:
    """The inputs, in the order of the arguments and sorted within a folder or glob.

    ``left_out`` counts files in folders whose names are not those of a picture or video.
    ``folders`` says whether any input stands for more than itself.
    """

    sources: list[Source] = field(default_factory=list)
    left_out: int = 0
    folders: bool = False


def find_inputs(
    arguments: Sequence[str], *, recursive: bool = False, output: str | None = None
) -> Found:
    """Expand arguments: folders if ``recursive``, globs, ``@FILE`` (``@-`` is stdin) with one name
    a line.

    What exists under the very name that was typed is taken as it is. Hidden files, and the folder
    ``output`` where results go, are passed over in folders; links to folders are not followed.
    Raises ``UsageError`` for a glob or a folder without pictures and for a list that cannot be
    read.
    """
    found = Found()
    for argument in arguments:
        if argument.startswith("@") and not os.path.lexists(argument):
            found.folders = True
            for line in _lines(argument[1:]):
                _add(found, line, recursive=recursive, output=output)
        elif _MAGIC.isdisjoint(argument) or os.path.lexists(argument):
            _add(found, argument, recursive=recursive, output=output)
        else:
            found.folders = True
            _add_glob(found, argument, output=output)
    if not found.sources:
        raise UsageError(f"{' '.join(arguments)} names no picture; list at least one")
    return found


def _add(found: Found, name: str, *, recursive: bool, output: str | None) -> None:
    if not (recursive and name != STREAM and Path(name).is_dir()):
        found.sources.append(Source(name))
        return
    found.folders = True
    before = len(found.sources)
    for path, below in _walk(name, skip=_real(output)):
        if is_known(path):
            found.sources.append(Source(path, below))
        else:
            found.left_out += 1
    if len(found.sources) == before:
        raise UsageError(f"{name} holds no picture that can be read; name another folder")


def _walk(top: str, *, skip: str | None) -> Iterator[tuple[str, str]]:
    """(path, folder below the top) of the visible files of a tree, sorted."""
    if _real(top) == skip:
        raise UsageError(
            f"results in {top} itself would be inputs the next time; pass another folder to -o"
        )
    for folder, folders, files in os.walk(top, onerror=_unreadable):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and _real(f"{folder}/{name}") != skip
        )
        below = os.path.relpath(folder, top)
        for name in sorted(files):
            if not name.startswith("."):
                yield str(Path(folder, name)), "" if below == "." else below


def _unreadable(error: OSError) -> None:
    raise UsageError(
        f"{error.filename} cannot be listed ({error.strerror}); check its permissions"
    ) from None


def _add_glob(found: Found, pattern: str, *, output: str | None) -> None:
    skip = _real(output)
    seen: set[str] = set()
    matches = []
    # pathlib would show hidden files
    for path in sorted(glob.iglob(pattern, recursive=True)):  # noqa: PTH207
        real = _real(path) or path
        # A link to a folder above would show the same files again and again.
        if real in seen or not Path(path).is_file() or (skip and _inside(real, skip)):
            continue
        seen.add(real)
        matches.append(path)
    # `**/*` means the pictures; where no name is a picture's, the pattern was meant as it stands.
    known = [path for path in matches if is_known(path)]
    if not matches:
        raise UsageError(f"no file matches {pattern!r}; check the pattern")
    found.left_out += len(matches) - len(known) if known else 0
    top = _fixed_part(pattern) if "**" in pattern else None
    for path in known or matches:
        below = "" if top is None else os.path.relpath(Path(path).parent, top)
        found.sources.append(Source(path, "" if below == "." else below))


def _fixed_part(pattern: str) -> str:
    """The folders of a pattern before the first one with a wildcard."""
    fixed = []
    for part in pattern.split("/"):
        if not _MAGIC.isdisjoint(part):
            break
        fixed.append(part)
    return "/".join(fixed) or ("/" if pattern.startswith("/") else ".")


def _lines(name: str) -> Iterable[str]:
    """The names in a list: one a line, blank ones and ``#`` comments left out; or NUL-separated."""
    try:
        if name == STREAM:
            data = sys.stdin.buffer.read(_MAX_LIST + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(_MAX_LIST + 1)
    except OSError as error:
        raise UsageError(
            f"the list @{name} cannot be read ({error.strerror}); check its name"
        ) from None
    if len(data) > _MAX_LIST:
        raise UsageError(f"the list @{name} has more than {_MAX_LIST >> 20} MB; cut it in parts")
    if b"\0" in data:
        return [os.fsdecode(part) for part in data.split(b"\0") if part]
    lines = [os.fsdecode(line.strip(b"\r")) for line in data.split(b"\n")]
    return [line for line in lines if line.strip() and not line.startswith("#")]


def _real(path: str | None) -> str | None:
    return None if path is None else os.path.realpath(path)


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)

"""From what the user typed to files: folders, globs, lists."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loopsr.apps.batch.jobs import STREAM
from loopsr.apps.batch.kinds import is_known
from loopsr.apps.batch.near import find_remote
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
    ``folders`` says whether any input stands for more than itself, ``plain`` whether one is a path
    without ``file://``, which need not be the same on other machines.
    """

    sources: list[Source] = field(default_factory=list)
    left_out: int = 0
    folders: bool = False
    plain: bool = False


def find_inputs(
    arguments: Sequence[str], *, recursive: bool = False, output: str | None = None
) -> Found:
    """Expand arguments: folders if ``recursive``, globs, ``@FILE`` (``@-`` is stdin) with one name
    a line. Addresses such as ``s3://bucket/folder`` are expanded likewise.

    What exists under the very name that was typed is taken as it is. Hidden files, and the folder
    ``output`` where results go, are passed over in folders; links to folders are not followed.
    Raises ``UsageError`` for a glob or a folder without pictures and for a list that cannot be
    read.
    """
    from loopsr.io.remote import is_address, without_file_scheme  # slow import: not for --help

    found = Found()
    for argument in arguments:
        name = without_file_scheme(argument)
        if argument.startswith("@") and not os.path.lexists(argument):
            found.folders = True
            for line in _lines(argument[1:]):
                _add(found, line, recursive=recursive, output=output)
        elif is_address(argument):
            _add_remote(found, argument, recursive=recursive, globs=True, output=output)
        elif _MAGIC.isdisjoint(name) or os.path.lexists(name):
            _add(found, argument, recursive=recursive, output=output)
        else:
            found.folders = True
            found.plain |= name == argument
            _add_glob(found, name, output=output)
    if not found.sources:
        raise UsageError(f"{' '.join(arguments)} names no picture; list at least one")
    return found


def _add(found: Found, name: str, *, recursive: bool, output: str | None) -> None:
    from loopsr.io.remote import is_address, is_shared, without_file_scheme

    if is_address(name):
        _add_remote(found, name, recursive=recursive, globs=False, output=output)
        return
    found.plain |= not is_shared(name)
    name = without_file_scheme(name)
    if not (recursive and name != STREAM and Path(name).is_dir()):
        found.sources.append(Source(name))
        return
    found.folders = True
    before = len(found.sources)
    closed: list[str] = []
    for path, below in _walk(name, skip=_real(output), closed=closed):
        if is_known(path):
            found.sources.append(Source(path, below))
        else:
            found.left_out += 1
    # They fail when their turn comes, as files do that may not be read; the rest goes on.
    found.sources += map(Source, closed)
    if len(found.sources) == before:
        raise UsageError(f"{name} holds no picture that can be read; name another folder")


def _add_remote(
    found: Found, address: str, *, recursive: bool, globs: bool, output: str | None
) -> None:
    names, several = find_remote(address, recursive=recursive, globs=globs, output=output)
    if not several:
        found.sources.append(Source(address))
        return
    found.folders = True
    known = [Source(name, below) for name, below in names if is_known(name)]
    found.sources += known
    found.left_out += len(names) - len(known)
    if not known:
        raise UsageError(f"{address} holds no picture that can be read; name another folder")


def _walk(top: str, *, skip: str | None, closed: list[str]) -> Iterator[tuple[str, str]]:
    """(path, folder below the top) of the visible files of a tree, sorted.

    ``closed`` receives the folders that cannot be listed.
    """
    if _real(top) == skip:
        raise UsageError(
            f"results in {top} itself would be inputs the next time; pass another folder to -o"
        )
    for folder, folders, files in os.walk(top, onerror=lambda error: closed.append(error.filename)):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and _real(f"{folder}/{name}") != skip
        )
        below = os.path.relpath(folder, top)
        for name in sorted(files):
            if not name.startswith("."):
                yield str(Path(folder, name)), "" if below == "." else below


def _add_glob(found: Found, pattern: str, *, output: str | None) -> None:
    top, rest = _split(pattern)
    # Results in a folder below are no inputs; results among the inputs are told by their names.
    skip = _real(output)
    if skip is None or not _inside(skip, os.path.realpath(top) + os.sep):
        skip = None
    try:
        everything = sorted(Path(top).glob(rest))
    except ValueError as error:
        raise UsageError(
            f"{pattern!r} is no pattern ({error}); write it like 'in/**/*.jpg'"
        ) from None
    matches = [
        path
        for path in everything
        if path.is_file()
        and ("/." in f"/{rest}" or not _is_hidden(path.relative_to(top)))
        and not (skip and _inside(os.path.realpath(path), skip))
    ]
    if not matches:
        raise UsageError(f"no file matches {pattern!r}; check the pattern")
    # `**/*` means the pictures; where no name is a picture's, the pattern was meant as it stands.
    known = [path for path in matches if is_known(str(path))]
    found.left_out += len(matches) - len(known) if known else 0
    for path in known or matches:
        below = path.relative_to(top).parent.as_posix() if "**" in rest else "."
        found.sources.append(Source(str(path), "" if below == "." else below))


def _split(pattern: str) -> tuple[str, str]:
    """The folders of a pattern before the first one with a wildcard, and the rest.

    pathlib's ``**`` follows no links to folders, and ends at folders, where ours means all in them.
    """
    parts = pattern.split("/")
    count = next(i for i, part in enumerate(parts) if not _MAGIC.isdisjoint(part))
    top = "/".join(parts[:count]) or ("/" if pattern.startswith("/") else ".")
    rest = [part for part in parts[count:] if part]
    return top, "/".join([*rest, "*"] if rest[-1] == "**" else rest)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


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

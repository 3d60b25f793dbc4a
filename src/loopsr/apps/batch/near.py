"""Jobs whose input or result lies at an address: found there, and brought near to be worked on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from loopsr.apps.batch.jobs import Job
from loopsr.errors import ImageReadError, LoopsrError, UsageError

_MAGIC = frozenset("*?[")
_LONGEST = 200  # bytes of a file name that every file system takes


def find_remote(
    address: str, *, recursive: bool, globs: bool, output: str | None
) -> tuple[list[tuple[str, str]], bool]:
    """The files that an address stands for, as (address, folder below the top), and whether it
    stands for more than itself.

    An object of the very name is taken as it is; else a folder if ``recursive``, a glob if
    ``globs``. Hidden names and the folder ``output`` are passed over, and names with ``..``, which
    would lead out of the folder of results. Raises ``UsageError``, ``ImageReadError``.
    """
    from loopsr.io import remote

    magic = globs and not _MAGIC.isdisjoint(address)
    if not magic and not recursive:
        return [(address, "")], False
    there = remote.status(address)
    if there is not None and not there.folder:
        return [(address, "")], False
    if magic:
        parts = address.split("/")
        fixed = next(i for i, part in enumerate(parts) if not _MAGIC.isdisjoint(part))
        top, mirrored = "/".join(parts[:fixed]), "**" in address
        names = remote.match_files(address)
        if not names:
            raise UsageError(f"no file matches {address!r}; check the pattern")
    elif there is None:
        return [(address, "")], False  # fails in its turn, as a missing file does
    else:
        top, mirrored = address.rstrip("/"), True
        names = remote.list_files(address)
    skip = None if output is None else output.rstrip("/")
    if skip == top and not magic:
        raise UsageError(
            f"results in {top} itself would be inputs the next time; pass another folder to -o"
        )
    return list(_below(names, top=top, mirrored=mirrored, skip=skip)), True


def _below(
    names: list[str], *, top: str, mirrored: bool, skip: str | None
) -> Iterator[tuple[str, str]]:
    for name in names:
        parts = name[len(top) :].strip("/").split("/")
        if any(not part or part.startswith(".") or "\0" in part for part in parts):
            continue
        if name.endswith("/") or (skip not in (None, top) and name.startswith(f"{skip}/")):
            continue
        yield name, "/".join(parts[:-1]) if mirrored else ""


@contextmanager
def at_hand(job: Job) -> Iterator[Job]:
    """The job with files of this machine only: a copy of a remote source, a place for the result.

    Both vanish in the end; errors name the addresses. Raises ``ImageReadError`` for a source that
    cannot be copied.
    """
    from loopsr.io import remote

    if not (remote.is_address(job.source) or remote.is_address(job.target)):
        yield job
        return
    try:
        folder = tempfile.TemporaryDirectory(prefix="loopsr-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ImageReadError(
            f"{job.source}: no temporary folder can be made ({error.strerror}); set TMPDIR"
        ) from None
    with folder as name:
        near = job
        if remote.is_address(job.source):
            near = replace(near, source=_place(Path(name, "in"), job.source))
            remote.fetch(job.source, Path(near.source))
        if remote.is_address(job.target):
            near = replace(near, target=_place(Path(name, "out"), job.target))
        try:
            yield near
        except LoopsrError as error:
            text = str(error).replace(near.source, job.source).replace(near.target, job.target)
            error.args = (text,)
            raise


def _place(folder: Path, address: str) -> str:
    folder.mkdir()
    name = address.rpartition("/")[2]
    if name in ("", ".", "..") or "\0" in name or len(name.encode(errors="replace")) > _LONGEST:
        name = "picture" + Path(name).suffix[:9].replace("\0", "")
    return str(folder / name)

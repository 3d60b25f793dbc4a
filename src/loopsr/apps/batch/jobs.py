"""Where each result goes: names chosen and clashes found before anything is computed."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loopsr.apps.batch.kinds import is_video
from loopsr.errors import UsageError

if TYPE_CHECKING:
    from loopsr.apps.batch.inputs import Source
    from loopsr.apps.batch.names import Template

STREAM = "-"


@dataclass(frozen=True)
class Job:
    """One input and its output; ``-`` is the standard stream.

    ``key`` is the output's name below the folder of the whole run, by which it is remembered; ""
    where there is no such folder. JSON-able by ``asdict``.
    """

    source: str
    target: str
    key: str = ""


def plan_jobs(
    sources: Sequence[Source],
    *,
    output: str | None,
    folder: bool,
    template: Template,
    format: str | None,
    preview: bool = False,
) -> list[Job]:
    """Pair every input with its output.

    ``output`` is a file, a folder (see ``is_folder``), ``-``, or None for beside the input; in a
    folder the trees of the inputs are mirrored. Names may still clash: see ``check_clashes`` and
    ``rename_jobs``. ``preview`` asks for a picture of each video. Raises ``UsageError`` when
    streams are mixed with several files, or a name does not say its format.
    """
    if output == STREAM or any(source.path == STREAM for source in sources):
        jobs = [_stream_job(sources, output)]
    elif output is None or folder:
        jobs = [
            _named_job(
                source, number, output=output, template=template, format=format, preview=preview
            )
            for number, source in enumerate(sources, 1)
        ]
    else:
        jobs = [Job(sources[0].path, output)]
    for job in jobs:
        if is_video(job.source) and job.target != STREAM:
            _check_video_extension(job.target, preview)
        else:
            _check_extension(job.target, format)
    return jobs


def is_folder(output: str | None, *, several: bool) -> bool:
    """Whether an output is a folder: several results, a trailing slash, or it exists as one.

    Raises ``UsageError`` for several results in what is a file.
    """
    if output is None or output == STREAM:
        return False
    from loopsr.io import remote  # slow import: not for --help

    if remote.is_address(output):
        there = None if several or output.endswith("/") else remote.status(output)
        return several or output.endswith("/") or (there is not None and there.folder)
    if not (several or output.endswith("/") or Path(output).is_dir()):
        return False
    if Path(output).exists() and not Path(output).is_dir():
        raise UsageError(f"{output} is a file, but several results need a folder; pass -o FOLDER/")
    return True


def _stream_job(sources: Sequence[Source], output: str | None) -> Job:
    if len(sources) > 1:
        raise UsageError("- stands for one picture; pass it as the only input, or name files only")
    return Job(sources[0].path, output or STREAM)


def _named_job(
    source: Source,
    number: int,
    *,
    output: str | None,
    template: Template,
    format: str | None,
    preview: bool,
) -> Job:
    if is_video(source.path):
        extension = ".png" if preview else _container(source.path)
    else:
        extension = _extension(source.path, format)
    name = template.fill(source.path, number=number, extension=extension)
    if output is None:
        return Job(source.path, _beside(source.path, name))
    key = f"{source.below}/{name}" if source.below else name
    # Text, not a path: an address such as s3://... keeps both its slashes.
    return Job(source.path, f"{output.rstrip('/')}/{key}", key)


def _beside(source: str, name: str) -> str:
    from loopsr.io.remote import is_address

    if is_address(source):  # a Path would take one of its slashes away
        return f"{source.rpartition('/')[0]}/{name}"
    return str(Path(source).with_name(name))


def _extension(source: str, format: str | None) -> str:
    from loopsr.io.formats import FORMATS, SUFFIXES  # slow import: not for --help

    if format is not None:
        return FORMATS[format].suffixes[0]
    # A format that cannot be written becomes PNG, which loses nothing.
    own = Path(source).suffix
    return own if own.lower() in SUFFIXES else ".png"


def _container(source: str) -> str:
    from loopsr.io.video.codecs import CONTAINERS

    # One that is not written becomes Matroska, which holds everything.
    own = Path(source).suffix
    return own if own.lower() in CONTAINERS else ".mkv"


def _check_video_extension(target: str, preview: bool) -> None:
    from loopsr.io.video.codecs import CONTAINERS

    suffix = Path(target).suffix.lower()
    if preview and suffix != ".png":
        raise UsageError(f"a preview is a PNG, but {target!r} is named otherwise; end it in .png")
    if not preview and suffix not in CONTAINERS:
        raise UsageError(
            f"the name {target!r} does not say the container of a video; "
            f"end it in one of {' '.join(CONTAINERS)}"
        )


def _check_extension(target: str, format: str | None) -> None:
    from loopsr.io.formats import FORMATS, SUFFIXES

    if target == STREAM:
        return
    extension = Path(target).suffix.lower()
    named = SUFFIXES.get(extension)
    if named is None and format is None:
        known = " ".join(entry.suffixes[0] for entry in FORMATS.values())
        raise UsageError(
            f"the name {target!r} does not say the format; "
            f"end it in one of {known}, or pass --format"
        )
    if named is not None and format is not None and named != format:
        raise UsageError(
            f"{target!r} is named as {named}, but --format says {format}; drop one of the two"
        )


def check_clashes(jobs: Sequence[Job]) -> None:
    """Raise ``UsageError`` when two inputs would write one file, or one would write an input."""
    inputs = {_real(job.source) for job in jobs if job.source != STREAM}
    taken: dict[str, str] = {}
    for job in jobs:
        if job.target == STREAM:
            continue
        path = _real(job.target)
        if path in inputs:
            raise UsageError(
                f"{job.target} is an input; an input is never overwritten, pass another -o"
            )
        if path in taken:
            raise UsageError(
                f"{taken[path]} and {job.source} would both become {job.target}; "
                "pass --rename, or upscale them in two runs with two folders"
            )
        taken[path] = job.source


def rename_jobs(jobs: Sequence[Job], earlier: Callable[[Job], Job | None]) -> list[Job]:
    """Give results whose name is taken the next free one: ``a_x4-2.png``.

    Taken are the names of this run's inputs and of its other results, and files that exist.
    ``earlier`` gives a job as an earlier run named it, if the result of that one is still good.
    """
    taken = {_real(job.source) for job in jobs if job.source != STREAM}
    named: dict[int, Job] = {}
    for number, job in enumerate(jobs):
        again = earlier(job)
        if again is not None and _real(again.target) not in taken:
            taken.add(_real(again.target))
            named[number] = again
    counts: dict[str, int] = {}
    for number, job in enumerate(jobs):
        if number in named:
            continue
        free = job
        # Goes on where the last one of this name ended, so that many are no slower.
        for count in itertools.count(counts.get(job.target, 1)):
            free = job if count == 1 else _counted(job, count)
            if _real(free.target) not in taken and not os.path.lexists(free.target):
                counts[job.target] = count
                break
        taken.add(_real(free.target))
        named[number] = free
    return [named[number] for number in range(len(jobs))]


def is_counted(key: str, base: str) -> bool:
    """Whether a key is one that ``rename_jobs`` may have given to a job of the key ``base``."""
    extension = Path(base).suffix
    stem = re.escape(base.removesuffix(extension))
    pattern = stem + r"(-[1-9]\d{0,9})?" + re.escape(extension)
    return re.fullmatch(pattern, key, re.ASCII) is not None


def _counted(job: Job, count: int) -> Job:
    def counted(name: str) -> str:
        extension = Path(name).suffix
        return f"{name.removesuffix(extension)}-{count}{extension}"

    return Job(job.source, counted(job.target), counted(job.key) if job.key else "")


def _real(path: str) -> str:
    from loopsr.io.remote import is_address

    return path if is_address(path) else os.path.realpath(path)

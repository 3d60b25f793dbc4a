"""Where each result goes: names chosen and clashes found before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loopsr.errors import UsageError

STREAM = "-"


@dataclass(frozen=True)
class Job:
    """One input and its output; ``-`` is the standard stream."""

    source: str
    target: str


def plan_jobs(
    sources: Sequence[str], *, output: str | None, suffix: str, format: str | None
) -> list[Job]:
    """Pair every input with its output.

    ``output`` is a file, a folder (several inputs, a trailing slash, or it exists as one), ``-``,
    or None for beside the input. Raises ``UsageError`` when two inputs would write one file, when
    a result would replace an input, or when streams are mixed with several files.
    """
    if STREAM in sources or output == STREAM:
        jobs = [_stream_job(sources, output)]
    elif output is None:
        jobs = [
            Job(source, str(Path(source).with_name(_name(source, suffix=suffix, format=format))))
            for source in sources
        ]
    elif len(sources) > 1 or output.endswith("/") or Path(output).is_dir():
        if Path(output).exists() and not Path(output).is_dir():
            raise UsageError(
                f"{output} is a file, but {len(sources)} results need a folder; pass -o FOLDER/"
            )
        folder = Path(output)
        jobs = [Job(s, str(folder / _name(s, suffix=suffix, format=format))) for s in sources]
    else:
        jobs = [Job(sources[0], output)]
    _check_clashes(jobs)
    for job in jobs:
        _check_extension(job.target, format)
    return jobs


def _stream_job(sources: Sequence[str], output: str | None) -> Job:
    if len(sources) > 1:
        raise UsageError("- stands for one picture; pass it as the only input, or name files only")
    return Job(sources[0], output or STREAM)


def _name(source: str, *, suffix: str, format: str | None) -> str:
    from loopsr.io.formats import FORMATS, SUFFIXES  # slow import: not for --help

    path = Path(source)
    if format is not None:
        return f"{path.stem}{suffix}{FORMATS[format].suffixes[0]}"
    # A format that cannot be written becomes PNG, which loses nothing.
    extension = path.suffix if path.suffix.lower() in SUFFIXES else ".png"
    return f"{path.stem}{suffix}{extension}"


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


def _check_clashes(jobs: Sequence[Job]) -> None:
    inputs = {Path(job.source).resolve() for job in jobs if job.source != STREAM}
    taken: dict[Path, str] = {}
    for job in jobs:
        if job.target == STREAM:
            continue
        path = Path(job.target).resolve()
        if path in inputs:
            raise UsageError(
                f"{job.target} is an input; an input is never overwritten, pass another -o"
            )
        if path in taken:
            raise UsageError(
                f"{taken[path]} and {job.source} would both become {job.target}; "
                "upscale them in two runs with two folders"
            )
        taken[path] = job.source

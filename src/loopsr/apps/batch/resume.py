"""What to do about a result that exists: it is kept only if it is proved to be the very one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loopsr.apps.batch.jobs import STREAM, Job, is_counted
from loopsr.apps.batch.kinds import is_video
from loopsr.apps.batch.record import Entry, Ledger, absolute, is_intact, is_same
from loopsr.errors import ImageReadError, ImageWriteError, VideoReadError

Collision = Literal["error", "overwrite", "skip", "rename"]


@dataclass(frozen=True)
class Verdict:
    """What is to be done: write, replace, keep a verified result (``entry``), or skip."""

    action: Literal["write", "replace", "keep", "skip"]
    entry: Entry | None = None


def decide(job: Job, *, record: Ledger | None, settings: str, collision: Collision) -> Verdict:
    """What to do about one job, ``settings`` being the fingerprint of the run.

    Raises ``ImageWriteError`` when its result exists and may neither be kept nor replaced.
    """
    target = Path(job.target)
    if job.target == STREAM or not _exists(job.target):
        return Verdict("write")
    entry = record.find(job.key) if record is not None and job.key else None
    if entry is not None and entry.settings == settings and is_same(entry.origin, job.source):
        if is_intact(entry, job.target):
            return Verdict("keep", entry)
        if _is_damaged(target, entry):
            return Verdict("replace")
    if collision == "overwrite":
        return Verdict("replace")
    if collision == "skip":
        return Verdict("skip")
    raise ImageWriteError(f"{job.target}: {_reason(job, entry, settings)}; {_ADVICE}")


_ADVICE = "pass --overwrite, --skip or --rename, or choose another name"


def _exists(target: str) -> bool:
    from loopsr.io import remote  # slow import: not for --help

    if remote.is_address(target):
        return remote.status(target) is not None
    return os.path.lexists(target)


def _reason(job: Job, entry: Entry | None, settings: str) -> str:
    if entry is None:
        return "the file exists"
    if entry.settings != settings:
        return "the file exists, made with other settings"
    if not is_same(entry.origin, job.source):
        return "the file exists, made before its source was changed"
    return "the file exists and was changed after it was made"


def _is_damaged(target: Path, entry: Entry) -> bool:
    """Whether a result that is not what was written is no whole picture, or no video, either.

    What a crash left is no longer than it was, and made again; what someone retouched is theirs.
    """
    from loopsr.io.image import open_picture  # slow import: not for --help

    if not target.is_file() or target.stat().st_size > entry.content.bytes:
        return False
    if is_video(str(target)):
        return not _opens(target)
    try:
        for _ in open_picture(target).rows():
            pass
    except ImageReadError:
        return True
    return False


def _opens(video: Path) -> bool:
    from loopsr.io.video.clip import open_clip

    try:
        open_clip(video)
    except VideoReadError:
        return False
    return True


def earlier_name(record: Ledger, settings: str) -> Callable[[Job], Job | None]:
    """For ``rename_jobs``: a job as an earlier run with the same settings named it.

    Only results that are still to the last byte what was written count.
    """
    found: dict[str, list[str]] = {}
    for entry in record.entries():
        if entry.settings == settings:
            found.setdefault(entry.origin.path, []).append(entry.key)

    def earlier(job: Job) -> Job | None:
        for key in found.get(absolute(job.source), []):
            if not (is_counted(key, job.key) and job.target.endswith(job.key)):
                continue
            again = Job(job.source, job.target.removesuffix(job.key) + key, key)
            entry = record.find(key)
            if entry is None or not is_same(entry.origin, again.source):
                continue
            if is_intact(entry, again.target):
                return again
        return None

    return earlier

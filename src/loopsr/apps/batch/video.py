"""The worker for a video among the inputs of a run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopsr.apps.batch.jobs import Job
from loopsr.apps.batch.settings import Settings
from loopsr.apps.batch.work import ALONE, Place, Progress, make_folder

if TYPE_CHECKING:
    from loopsr.apps.video.job import OpenedVideo
    from loopsr.apps.video.pace import VideoProgress
    from loopsr.engine.upscaler import Upscaler


def upscale_video(
    job: Job, settings: Settings, upscaler: Upscaler, progress: Progress, place: Place = ALONE
) -> dict[str, Any]:
    """Upscale a video, or show one frame of it where the settings say so."""
    if settings.video.preview is not None:
        return _preview(job, settings, upscaler, progress, place)
    from loopsr.apps.video.job import VideoResult, write_video

    opened = open_video_job(job, settings, upscaler)
    make_folder(Path(job.target).parent)
    frames = opened.make_frames()
    names = {"source": job.source, "target": job.target}

    def seal(part: Path, result: VideoResult) -> None:
        if place.seal is not None:
            cost = frames.cost * (result.frames - result.repeated)
            place.seal(part, {**asdict(result), **names}, cost)

    with place.room(frames.work_memory):
        result = write_video(
            opened,
            overwrite=settings.overwrite,
            progress=lambda state: progress(state.done, in_words(state)),
            turn=place.turn,
            seal=seal,
        )
    return {**asdict(result), **names}


def open_video_job(job: Job, settings: Settings, upscaler: Upscaler) -> OpenedVideo:
    """Open a video and plan its work; writes nothing."""
    from loopsr.apps.video.plan import VideoSettings, open_video

    wishes = settings.video
    return open_video(
        job.source,
        job.target,
        upscaler=upscaler,
        settings=VideoSettings(
            codec=wishes.codec, crf=wishes.crf, start=wishes.start, duration=wishes.duration
        ),
        **asdict(wishes.size or settings.size),
    )


def in_words(state: VideoProgress) -> str:
    """Frames done, frames a second and the time left, for a person."""
    total = f"/{state.total}" if state.total else ""
    words = [f"{state.frames}{total} frames"]
    if state.speed is not None:
        words.append(
            f"{state.speed:.2g} frames/s" if state.speed < 10 else f"{state.speed:.0f} frames/s"
        )
    if state.left is not None:
        words.append(f"{_clock(state.left)} left")
    return ", ".join(words)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _preview(
    job: Job, settings: Settings, upscaler: Upscaler, progress: Progress, place: Place
) -> dict[str, Any]:
    from loopsr.apps.video.preview import preview

    assert settings.video.preview is not None
    make_folder(Path(job.target).parent)
    with place.turn():
        result = preview(
            job.source,
            job.target,
            at=settings.video.preview,
            upscaler=upscaler,
            overwrite=settings.overwrite,
            progress=progress,
            **asdict(settings.video.size or settings.size),
        )
    return asdict(result)

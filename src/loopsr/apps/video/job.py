"""Upscale one video, from a file to a file."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopsr.apps.video.pace import Pace, VideoProgress
from loopsr.apps.video.work import WorkFolder, disk_error, source_identity
from loopsr.engine.frames import FrameFormat, FrameUpscaler
from loopsr.engine.machine import cores
from loopsr.engine.upscaler import Upscaler
from loopsr.errors import Cancelled, UsageError, VideoReadError
from loopsr.io.video.clip import Clip, Moment, open_clip
from loopsr.io.video.codecs import check_crf, choose_format, find_codec
from loopsr.io.video.colour import encoded_colour
from loopsr.io.video.encoder import Coded, EncoderSpec, SegmentEncoder
from loopsr.io.video.layout import read_planes
from loopsr.io.video.mux import Cut, join, rehearse
from loopsr.io.video.segments import Segment
from loopsr.io.writer import check_writable

log = logging.getLogger(__name__)
DEFAULT_SCALE = 2.0
# Told where the work is; may return False to stop.
Progress = Callable[[VideoProgress], bool | None]
# A segment is what a kill can cost, and a key frame: as many frames as this many output pixels
# have, within bounds.
_SEGMENT_PIXELS = 400_000_000
_LEAST, _MOST = 32, 250


@dataclass(frozen=True, kw_only=True)
class VideoResult:
    """What was done to one video; sizes in stored pixels. JSON-able by ``asdict``."""

    source: str
    target: str
    source_width: int
    source_height: int
    width: int
    height: int
    frames: int
    repeated: int  # frames equal to the one before, not computed again
    resumed: int  # frames taken over from an earlier run
    model: str
    format: str  # the codec
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a video is written. ``crf`` None: the codec's own default; ``start`` and ``duration`` in
    seconds."""

    codec: str | None = None
    crf: int | None = None
    start: float = 0.0
    duration: float | None = None


def run(
    source: str | Path,
    target: str | Path,
    *,
    upscaler: Upscaler | None = None,
    settings: Settings | None = None,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    long_edge: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> VideoResult:
    """Upscale a video, by two unless a size is given (see ``Upscaler.plan``), and keep the rest.

    Sound, subtitles, chapters and tags are copied; what cannot be kept is said on the log before
    anything is computed. Finished segments wait in a hidden folder beside ``target``: after a stop
    the same call goes on. Raises ``UsageError``, ``VideoReadError``, ``VideoWriteError``,
    ``ImageWriteError``, ``MissingExtraError``, ``WeightsError``, ``BackendError``, ``Cancelled``.
    """
    begun = time.monotonic()
    source, target = Path(source), Path(target)
    settings, upscaler = settings or Settings(), upscaler or Upscaler()
    if scale is None and width is None and height is None and long_edge is None:
        scale = DEFAULT_SCALE
    size = {"scale": scale, "width": width, "height": height, "long_edge": long_edge}
    job = _plan(source, target, upscaler, settings, {k: v for k, v in size.items() if v})
    check_writable(target, overwrite=overwrite, source=source)
    with WorkFolder(target, job.identity(upscaler)) as work:
        job.say_what_is_lost(work)
        pace = Pace(job.expected_frames(), progress)
        try:
            count = job.make_segments(work, pace)
        except Cancelled:
            raise Cancelled(
                f"stopped; {work.frames} finished frames are kept in {work.path}, "
                "the same command goes on"
            ) from None
        frames = work.frames
        _finish(job, work, count, overwrite=overwrite)
    return VideoResult(
        source=str(source),
        target=str(target),
        source_width=job.clip.width,
        source_height=job.clip.height,
        width=job.spec.width,
        height=job.spec.height,
        frames=frames,
        repeated=job.frames.repeated,
        resumed=frames - pace.computed,
        model=" + ".join(job.frames.models),
        format=job.spec.codec,
        seconds=round(time.monotonic() - begun, 3),
    )


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One video, planned: all is known but the frames."""

    clip: Clip
    target: Path
    frames: FrameUpscaler
    spec: EncoderSpec
    cut: Cut
    losses: tuple[str, ...]

    @property
    def segment_length(self) -> int:
        """Frames of a segment; part of the identity of the work."""
        pixels = self.spec.width * self.spec.height
        return max(_LEAST, min(_MOST, _SEGMENT_PIXELS // pixels))

    def identity(self, upscaler: Upscaler) -> dict[str, Any]:
        """All that decides the frames of the result."""
        from loopsr import __version__  # slow import: asks the installed packages

        return {
            "loopsr": __version__,
            "source": source_identity(self.clip.path),
            "networks": upscaler.identity(),
            "encoder": self.spec.record(),
            "header": SegmentEncoder(self.spec).extradata.hex(),
            "start": self.cut.start,
            "duration": self.cut.duration,
            "segment": self.segment_length,
        }

    def expected_frames(self) -> int:
        """About how many frames there will be; 0 where the source does not tell its length."""
        length = self.clip.duration
        if length is not None:
            length = max(0.0, length - self.cut.start)
        spans = [span for span in (length, self.cut.duration) if span is not None]
        return round(min(spans) * float(self.clip.rate)) if spans else 0

    def say_what_is_lost(self, work: WorkFolder) -> None:
        """Tell it, after the container itself was asked; raises what makes the run futile."""
        part = work.path / self.target.name
        for loss in (*self.losses, *rehearse(part, self.clip, self.spec, self.cut)):
            log.warning("%s: %s", self.clip.path.name, loss)

    def make_segments(self, work: WorkFolder, pace: Pace) -> int:
        """Encode the segments that are missing; gives the number of all."""
        if work.total is not None:
            return work.total
        moments = self.clip.frames(self.cut.start, self.cut.duration)
        count = 0
        for first in moments:
            known = work.find(count)
            if known is not None and known[0] == first.pts:
                pace.skip(known[1])
                _drop(moments, known[1] - 1)
            else:
                work.forget(count)
                rest = itertools.islice(moments, self.segment_length - 1)
                work.store(count, self._segment(itertools.chain((first,), rest), pace))
            count += 1
        if not count:
            raise VideoReadError(
                f"{self.clip.path.name}: there is no frame at {self.cut.start:g} s; "
                f"it lasts {self.clip.duration or 0:.2f} s, pass a smaller --start"
            )
        work.total = count
        return count

    def _segment(self, moments: Iterator[Moment], pace: Pace) -> Segment:
        encoder = SegmentEncoder(self.spec)
        packets: list[Coded] = []
        for moment in moments:
            planes = self.frames(read_planes(moment.frame, self.clip.layout), pace.within)
            packets += encoder.encode(planes, pts=moment.pts, duration=moment.duration)
            pace.frame_done()
        packets += encoder.finish()
        return Segment(extradata=encoder.extradata, packets=tuple(packets))


def _plan(
    source: Path, target: Path, upscaler: Upscaler, settings: Settings, size: dict[str, Any]
) -> _Job:
    if settings.start < 0 or (settings.duration is not None and settings.duration <= 0):
        raise UsageError(
            f"a start of {settings.start:g} s and a duration of {settings.duration} s were asked "
            "for; pass --start 0 or more, and --duration above 0"
        )
    clip = open_clip(source)
    codec = find_codec(settings.codec, target, clip.layout)
    crf = check_crf(codec, settings.crf)
    layout, losses = choose_format(codec, clip.layout)
    colour = encoded_colour(clip.colour, clip.layout, layout, clip.height)
    frames = FrameUpscaler(
        upscaler,
        FrameFormat(layout=clip.layout, colour=clip.colour),
        FrameFormat(layout=layout, colour=colour),
        size=(clip.width, clip.height),
        **size,
    )
    spec = EncoderSpec(
        codec=codec.name,
        pix_fmt=layout.name,
        width=frames.width,
        height=frames.height,
        time_base=clip.time_base,
        rate=clip.rate,
        aspect=clip.aspect,
        colour=colour,
        hdr=clip.hdr,
        crf=crf,
        threads=cores(),
    )
    losses += [f"{name} metadata cannot be kept" for name in clip.lost]
    if clip.hdr and not clip.hdr.options(codec.name):
        losses.append(f"HDR metadata cannot be kept in {codec.name}; h265 and av1 keep it")
    if clip.interlaced:
        losses.append("it is interlaced; deinterlace it first, or lines will comb")
    cut = Cut(start=settings.start, duration=settings.duration)
    return _Job(clip=clip, target=target, frames=frames, spec=spec, cut=cut, losses=tuple(losses))


def _finish(job: _Job, work: WorkFolder, count: int, *, overwrite: bool) -> None:
    """Join the segments and put the result in its place."""
    part = work.path / job.target.name
    try:
        join(part, job.clip, job.spec, [work.segment(number) for number in range(count)], job.cut)
        check_writable(job.target, overwrite=overwrite, source=job.clip.path)
        part.replace(job.target)
    except OSError as error:
        raise disk_error(job.target, error) from None
    finally:
        part.unlink(missing_ok=True)
    work.remove()


def _drop(moments: Iterator[Moment], count: int) -> None:
    """Decode frames that are done already: what comes after them depends on it."""
    for _ in itertools.islice(moments, count):
        pass


__all__ = ["Settings", "VideoProgress", "VideoResult", "run"]

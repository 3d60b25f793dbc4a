"""A video opened, planned and checked, so that only the work is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopsr.apps.video.work import source_identity
from loopsr.engine.frames import FrameFormat, FrameUpscaler
from loopsr.engine.machine import cores
from loopsr.engine.upscaler import Upscaler
from loopsr.errors import UsageError
from loopsr.io.video.clip import Clip, open_clip
from loopsr.io.video.codecs import check_crf, choose_format, find_codec
from loopsr.io.video.colour import encoded_colour
from loopsr.io.video.encoder import EncoderSpec, SegmentEncoder
from loopsr.io.video.mux import Cut

DEFAULT_SCALE = 2.0
# A segment is what a kill can cost, and a key frame: as many frames as this many output pixels
# have, within bounds.
_SEGMENT_PIXELS = 150_000_000
_LEAST, _MOST = 32, 120


@dataclass(frozen=True, kw_only=True)
class VideoSettings:
    """How a video is written. ``crf`` None: the codec's own; ``start``, ``duration`` in seconds."""

    codec: str | None = None
    crf: int | None = None
    start: float = 0.0
    duration: float | None = None


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
    model: str  # names joined by " + ", in the order of the passes
    format: str  # the codec
    seconds: float


@dataclass(frozen=True, kw_only=True)
class OpenedVideo:
    """One video of which all is known but the frames; ``losses`` are what cannot be kept."""

    clip: Clip
    target: Path
    make_frames: Callable[[], FrameUpscaler]
    spec: EncoderSpec
    cut: Cut
    losses: tuple[str, ...]
    networks: dict[str, Any]

    @property
    def segment_length(self) -> int:
        """Frames of a segment; part of the identity of the work."""
        return max(_LEAST, min(_MOST, _SEGMENT_PIXELS // (self.spec.width * self.spec.height)))

    @property
    def expected_frames(self) -> int:
        """About how many frames there will be; 0 where the source does not tell its length."""
        length = self.clip.duration
        if length is not None:
            length = max(0.0, length - self.cut.start)
        spans = [span for span in (length, self.cut.duration) if span is not None]
        return round(min(spans) * float(self.clip.rate)) if spans else 0

    def identity(self) -> dict[str, Any]:
        """All that decides the frames of the result."""
        from loopsr import __version__  # slow import: asks the installed packages

        return {
            "loopsr": __version__,
            "source": source_identity(self.clip.path),
            "networks": self.networks,
            "encoder": self.spec.record(),
            "header": SegmentEncoder(self.spec).extradata.hex(),
            "start": self.cut.start,
            "duration": self.cut.duration,
            "segment": self.segment_length,
        }

    def describe(self, frames: FrameUpscaler, *, count: int, seconds: float) -> VideoResult:
        """What is, or will be, done."""
        return VideoResult(
            source=str(self.clip.path),
            target=str(self.target),
            source_width=self.clip.width,
            source_height=self.clip.height,
            width=self.spec.width,
            height=self.spec.height,
            frames=count,
            repeated=frames.repeated,
            resumed=0,
            model=" + ".join(frames.models),
            format=self.spec.codec,
            seconds=round(seconds, 3),
        )


def open_video(
    source: str | Path,
    target: str | Path,
    *,
    upscaler: Upscaler,
    settings: VideoSettings | None = None,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    long_edge: int | None = None,
) -> OpenedVideo:
    """Read a video's facts and plan its work, by two unless a size is given; writes nothing.

    Raises ``UsageError``, ``VideoReadError``, ``MissingExtraError``, ``WeightsError``.
    """
    settings = settings or VideoSettings()
    _check_cut(settings)
    target = Path(target)
    clip = open_clip(source)
    codec = find_codec(settings.codec, target, clip.layout)
    crf = check_crf(codec, settings.crf)
    layout, losses = choose_format(codec, clip.layout)
    colour = encoded_colour(
        clip.colour, clip.layout, layout, height=clip.height, limited=codec.limited
    )
    size = wishes(scale=scale, width=width, height=height, long_edge=long_edge)

    def make_frames() -> FrameUpscaler:
        return FrameUpscaler(
            upscaler,
            FrameFormat(layout=clip.layout, colour=clip.colour),
            FrameFormat(layout=layout, colour=colour),
            size=(clip.width, clip.height),
            **size,
        )

    planned = make_frames()
    spec = EncoderSpec(
        codec=codec.name,
        pix_fmt=layout.name,
        width=planned.width,
        height=planned.height,
        time_base=clip.time_base,
        rate=clip.rate,
        aspect=clip.aspect,
        colour=colour,
        hdr=clip.hdr,
        crf=crf,
        threads=cores(),
    )
    return OpenedVideo(
        clip=clip,
        target=target,
        make_frames=make_frames,
        spec=spec,
        cut=Cut(start=settings.start, duration=settings.duration),
        losses=(*losses, *_lost_metadata(clip, codec.name)),
        networks=upscaler.identity(),
    )


def wishes(**sizes: float | None) -> dict[str, Any]:
    """The size that was asked for, as ``Upscaler.plan`` takes it; twice without a wish."""
    given = {name: value for name, value in sizes.items() if value is not None}
    return given or {"scale": DEFAULT_SCALE}


def _check_cut(settings: VideoSettings) -> None:
    if settings.start < 0:
        raise UsageError(f"a start of {settings.start:g} s was asked for; pass --start 0 or more")
    if settings.duration is not None and settings.duration <= 0:
        raise UsageError(
            f"a duration of {settings.duration:g} s was asked for; pass --duration above 0"
        )


def _lost_metadata(clip: Clip, codec: str) -> list[str]:
    losses = [f"{name} metadata cannot be kept" for name in clip.lost]
    if clip.hdr and not clip.hdr.options(codec):
        losses.append(f"HDR metadata cannot be kept in {codec}; h265 and av1 keep it")
    if clip.interlaced:
        losses.append("it is interlaced; deinterlace it first, or lines will comb")
    return losses

"""One encoder, set up from a plain record, so that every segment is made alike."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from numpy.typing import NDArray

from loopsr.errors import VideoWriteError
from loopsr.io.video.codecs import CODECS
from loopsr.io.video.colour import Colour
from loopsr.io.video.hdr import Hdr
from loopsr.io.video.layout import layout_of, make_frame
from loopsr.io.video.pyav import first_line, pyav

_KEY_EVERY = 10  # seconds between two key frames at most: how far a player has to go to seek
_PRORES_PROFILES = {"yuv422p10le": "3", "yuv444p10le": "4", "yuva444p10le": "4"}  # HQ, 4444


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """All that decides what an encoder makes of frames; ``threads`` 0 lets it choose."""

    codec: str
    pix_fmt: str
    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    aspect: Fraction | None
    colour: Colour
    hdr: Hdr | None
    crf: int | None
    threads: int = 0

    def record(self) -> dict[str, Any]:
        """The spec as JSON-able words, to recognise work of the same settings."""
        return {
            key: str(value) if isinstance(value, Fraction) else value
            for key, value in dataclasses.asdict(self).items()
            if key != "threads"
        }


@dataclass(frozen=True, kw_only=True)
class Coded:
    """An encoded frame; times in the spec's ``time_base``, in the order of decoding."""

    pts: int
    duration: int
    key: bool
    data: bytes


class SegmentEncoder:
    """Encodes one run of frames that stands for itself: it begins with a key frame."""

    def __init__(self, spec: EncoderSpec) -> None:
        av = pyav()
        self._spec = spec
        self._layout = layout_of(spec.pix_fmt)
        self._durations: dict[int, int] = {}
        self._context = av.CodecContext.create(CODECS[spec.codec].encoder, "w")
        configure(self._context, spec)
        try:
            self._context.open()
        except (av.error.FFmpegError, ValueError) as error:
            raise VideoWriteError(
                f"{spec.codec} cannot encode {spec.width}x{spec.height} pixels of {spec.pix_fmt} "
                f"({first_line(error)}); pass another --codec"
            ) from None

    @property
    def extradata(self) -> bytes:
        """The codec's own header, as the container stores it."""
        return bytes(self._context.extradata or b"")

    def encode(self, planes: list[NDArray[Any]], *, pts: int, duration: int) -> list[Coded]:
        """Take a frame; gives what is ready, which may belong to earlier ones."""
        frame = make_frame(planes, self._layout)
        frame.pts, frame.time_base = pts, self._spec.time_base
        colour = self._spec.colour
        frame.color_primaries, frame.color_trc = colour.primaries, colour.transfer
        frame.colorspace, frame.color_range = colour.matrix, colour.range
        self._durations[pts] = duration
        return self._coded(frame)

    def finish(self) -> list[Coded]:
        """The rest of the frames."""
        return self._coded(None)

    def _coded(self, frame: Any) -> list[Coded]:
        try:
            packets = self._context.encode(frame)
        except pyav().error.FFmpegError as error:
            raise VideoWriteError(
                f"{self._spec.codec} failed ({first_line(error)}); pass another --codec"
            ) from None
        return [
            Coded(
                pts=packet.pts,
                duration=self._durations.pop(packet.pts, packet.duration or 0),
                key=packet.is_keyframe,
                data=bytes(packet),
            )
            for packet in packets
        ]


def configure(context: Any, spec: EncoderSpec) -> None:
    """Set up a codec context, of a segment or of the file that joins them."""
    codec = CODECS[spec.codec]
    context.width, context.height = spec.width, spec.height
    context.pix_fmt = spec.pix_fmt
    context.time_base, context.framerate = spec.time_base, spec.rate
    if spec.aspect is not None:
        context.sample_aspect_ratio = spec.aspect
    colour = spec.colour
    context.color_primaries, context.color_trc = colour.primaries, colour.transfer
    context.colorspace, context.color_range = colour.matrix, colour.range
    context.thread_count = spec.threads
    context.flags |= pyav().codec.context.Flags.global_header
    context.gop_size = max(1, round(spec.rate * _KEY_EVERY))
    context.options = _options(codec.name, spec)


def _options(name: str, spec: EncoderSpec) -> dict[str, str]:
    options = dict(CODECS[name].options)
    if spec.crf is not None:
        options["crf"] = str(spec.crf)
    if name == "prores":
        options["profile"] = _PRORES_PROFILES[spec.pix_fmt]
    if name == "ffv1":
        options["g"] = "1"  # every frame a key frame: cut and sought anywhere
    if spec.colour.site != "unspecified":
        options["chroma_sample_location"] = spec.colour.site
    for key, words in (spec.hdr.options(name) if spec.hdr else {}).items():
        options[key] = ":".join(filter(None, (options.get(key), words)))
    return options

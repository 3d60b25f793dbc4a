"""Open a video: its facts first, then its frames, one after the other, past damaged packets."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from loopsr.errors import VideoReadError
from loopsr.io.video.colour import Colour, colour_of
from loopsr.io.video.hdr import Hdr, dynamic_hdr, hdr_of
from loopsr.io.video.layout import Layout, working_layout
from loopsr.io.video.pyav import first_line, pyav

log = logging.getLogger(__name__)
_MOST_NOTES = 5  # lines about damaged packets of one video
# Containers whose clock starts anywhere; their first moment becomes zero, as in all players.
_FREE_CLOCK = ("mpegts", "mpeg")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The facts of a video's main stream; sizes in stored pixels, before any rotation.

    ``time_base`` is the unit of its timestamps, ``origin`` the moment in seconds that counts as
    zero, ``duration`` seconds or None, ``matrix`` FFmpeg's display matrix, ``rotation`` its angle
    in degrees counter-clockwise, ``aspect`` the shape of a pixel.
    """

    path: Path
    width: int
    height: int
    layout: Layout
    colour: Colour
    time_base: Fraction
    rate: Fraction
    origin: Fraction
    duration: float | None
    aspect: Fraction | None
    matrix: tuple[int, ...] | None
    rotation: int
    hdr: Hdr | None
    lost: tuple[str, ...]  # kinds of metadata that no encoder takes
    interlaced: bool

    def frames(self, start: float = 0.0, duration: float | None = None) -> Iterator[Moment]:
        """The frames from ``start`` on, for ``duration`` seconds, in the order of showing.

        A packet that cannot be decoded is told on the log and left out, so what was on show stays
        longer. Raises ``VideoReadError`` when the size changes on the way.
        """
        first = self.origin + Fraction(start).limit_denominator(10**9)
        end = None if duration is None else first + Fraction(duration).limit_denominator(10**9)
        last = None
        with opened(self.path) as container:
            stream = main_stream(container, self.path)
            if start > 0:
                container.seek(int(first * 1_000_000), backward=True)
            for frame in _decoded(container, stream, self.path.name):
                pts = frame.pts if frame.pts is not None else frame.dts
                if pts is None:
                    pts = 0 if last is None else last + _usual(self)
                moment = pts * self.time_base
                if moment < first or (last is not None and pts <= last):
                    continue
                if end is not None and moment >= end:
                    return
                if (frame.width, frame.height) != (self.width, self.height):
                    raise VideoReadError(
                        f"{self.path.name}: the picture changes from {self.width}x{self.height} to "
                        f"{frame.width}x{frame.height} at {float(moment - self.origin):.2f} s; "
                        "upscale the parts by --start and --duration"
                    )
                last = pts
                yield Moment(frame=frame, pts=pts, duration=frame.duration or _usual(self))


@dataclass(frozen=True)
class Moment:
    """A decoded frame with its time and how long it lasts, in the clip's ``time_base``."""

    frame: Any
    pts: int
    duration: int


def open_clip(path: str | Path) -> Clip:
    """Read the facts of a video; its first frame is decoded for them.

    Raises ``VideoReadError`` and ``MissingExtraError``.
    """
    path = Path(path)
    with opened(path) as container:
        stream = main_stream(container, path)
        # No threads: reading a frame's tags listens to FFmpeg's log (see colour.py).
        stream.codec_context.thread_count = 1
        frame = next(_decoded(container, stream, path.name, quiet=True), None)
        if frame is None:
            raise VideoReadError(f"{path.name}: no picture can be decoded; get the file again")
        layout = working_layout(frame.format.name)
        matrix = _matrix(frame)
        free = container.format.name in _FREE_CLOCK and container.start_time
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        return Clip(
            path=path,
            width=frame.width,
            height=frame.height,
            layout=layout,
            colour=colour_of(frame, layout),
            time_base=stream.time_base,
            rate=rate,
            origin=Fraction(container.start_time, 1_000_000) if free else Fraction(0),
            duration=_duration(container, stream),
            aspect=stream.sample_aspect_ratio or None,
            matrix=matrix,
            rotation=frame.rotation if matrix else 0,
            hdr=hdr_of(frame),
            lost=tuple(dynamic_hdr(frame)),
            interlaced=bool(frame.interlaced_frame),
        )


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A container opened for reading. Raises ``VideoReadError``."""
    av = pyav()
    if not path.is_file():
        raise VideoReadError(f"{path}: no such file; check the name")
    try:
        # A playlist under the name of a video may not reach out for more.
        container = av.open(
            as_url(path),
            metadata_errors="replace",
            container_options={"protocol_whitelist": "file"},
        )
    except (av.error.FFmpegError, OSError) as error:
        raise VideoReadError(
            f"{path.name}: no video that can be read ({first_line(error)}); get the file again"
        ) from None
    try:
        yield container
    finally:
        container.close()


def as_url(path: Path) -> str:
    """A path as FFmpeg must see it, or ``a:b.mp4`` would be a protocol ``a``."""
    return f"file:{path}"


def main_stream(container: Any, path: Path) -> Any:
    """The stream to upscale: the first that is a video and no cover picture."""
    for stream in container.streams.video:
        if not is_cover(stream):
            if stream.codec_context is None:
                raise VideoReadError(
                    f"{path.name}: its picture cannot be decoded, it is damaged or of an unknown "
                    "codec; get it again, or convert it to H.264"
                )
            stream.thread_type = "AUTO"
            return stream
    raise VideoReadError(f"{path.name}: there is no picture in it, only sound or data")


def is_cover(stream: Any) -> bool:
    """Whether a stream is a cover picture: a single packet without a time."""
    attached = pyav().stream.Disposition.attached_pic
    return stream.type == "video" and bool(stream.disposition & attached)


def _decoded(container: Any, stream: Any, name: str, quiet: bool = False) -> Iterator[Any]:
    """Frames as the decoder gives them; what it cannot decode is told and left out."""
    av = pyav()
    notes = 0
    packets = container.demux(stream)
    while True:
        packet = None
        try:
            packet = next(packets, None)
            if packet is None:
                break
            frames = packet.decode()
        except av.error.EOFError:
            break
        except av.error.FFmpegError as error:
            notes += 1
            if not quiet and notes <= _MOST_NOTES:
                at = "" if packet is None or packet.dts is None else f" at {_second(packet):.2f} s"
                log.warning("%s: a broken packet%s is skipped (%s)", name, at, first_line(error))
            # The file cannot be read on: what the decoder still holds is all that there is.
            frames = _flushed(stream) if packet is None else []
        for frame in frames:
            if frame.is_corrupt and not quiet:
                notes += 1
                if notes <= _MOST_NOTES:
                    log.warning("%s: the frame at %.2f s is damaged", name, frame.time or 0)
            yield frame
    if notes > _MOST_NOTES and not quiet:
        log.warning("%s: %d broken packets or damaged frames in all", name, notes)


def _flushed(stream: Any) -> list[Any]:
    try:
        frames: list[Any] = stream.decode(None)
    except pyav().error.FFmpegError:
        return []
    return frames


def _second(packet: Any) -> float:
    return float(packet.dts * packet.time_base)


def _usual(clip: Clip) -> int:
    """How long a frame lasts where it does not say."""
    return max(1, round(1 / clip.rate / clip.time_base))


def _duration(container: Any, stream: Any) -> float | None:
    if stream.duration is not None and stream.duration > 0:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None


def _matrix(frame: Any) -> tuple[int, ...] | None:
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            return struct.unpack("=9i", bytes(data)[:36])
    return None

"""Clips that the tests make themselves, with PyAV's real codecs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from loopsr.io.video.layout import layout_of, make_frame, plane_shapes

Planes = list[NDArray[Any]]
BASE = Fraction(1, 90000)
RATE = 48000


def steady(count: int, rate: int = 25) -> list[int]:
    """Timestamps of a constant frame rate, in BASE."""
    return [number * 90000 // rate for number in range(count)]


def moving(pix_fmt: str, width: int, height: int) -> Callable[[int], Planes]:
    """Number of a frame -> planes with a moving wave and a step, in legal code values."""
    layout = layout_of(pix_fmt)

    def make(number: int) -> Planes:
        planes = []
        for index, shape in enumerate(plane_shapes(layout, width, height)):
            y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
            wave = 0.5 + 0.3 * np.sin((x + 2 * y + 3 * number) / (4 + index)) + 0.1 * (x > y)
            wave = wave if len(shape) == 2 else np.repeat(wave[..., None], 3, axis=2)
            planes.append((wave * layout.top).astype(layout.dtype))
        return planes

    return make


@dataclass(kw_only=True)
class ClipMaker:
    """What goes into a clip; ``save`` writes it."""

    pix_fmt: str = "yuv420p"
    width: int = 64
    height: int = 48
    times: Sequence[int] = tuple(steady(12))
    frame: Callable[[int], Planes] | None = None
    codec: str = "libx264"
    options: dict[str, str] | None = None
    colour: tuple[int, int, int, int] = (1, 1, 1, 1)  # primaries, transfer, matrix, range
    rotation: int | None = None
    audio: str | None = None
    subtitles: Sequence[tuple[float, float, str]] = ()
    chapters: Sequence[tuple[float, float, str]] = ()
    tags: dict[str, str] | None = None
    language: str | None = None

    def save(self, path: Path, *, format: str | None = None) -> Path:
        with av.open(str(path), "w", format=format) as out:
            out.metadata.update(self.tags or {})
            video = self._video(out)
            sound = None
            if self.audio:
                sound = out.add_stream(self.audio, rate=RATE)
                sound.layout = "stereo"
                if self.language:
                    sound.metadata["language"] = self.language
            text = (
                out.add_mux_stream("subrip", time_base=Fraction(1, 1000))
                if self.subtitles
                else None
            )
            out.set_chapters(
                [
                    {
                        "id": number,
                        "start": round(start * 1000),
                        "end": round(end * 1000),
                        "time_base": Fraction(1, 1000),
                        "metadata": {"title": title},
                    }
                    for number, (start, end, title) in enumerate(self.chapters)
                ]
            )
            for packet in self._pictures(video):
                out.mux(packet)
            if sound:
                seconds = (self.times[-1] + 3600) / 90000
                for packet in tone(sound, seconds):
                    out.mux(packet)
            for start, end, words in self.subtitles:
                packet = av.Packet(words.encode())
                packet.pts = packet.dts = round(start * 1000)
                packet.duration, packet.time_base = round((end - start) * 1000), Fraction(1, 1000)
                packet.stream, packet.is_keyframe = text, True
                out.mux(packet)
        return path

    def _video(self, out: Any) -> Any:
        video = out.add_stream(self.codec, rate=25, options=self.options or {})
        video.width, video.height, video.pix_fmt = self.width, self.height, self.pix_fmt
        context = video.codec_context
        context.time_base = BASE
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = (
            self.colour
        )
        if self.rotation is not None:
            video.set_display_rotation(self.rotation)
        return video

    def _pictures(self, video: Any) -> Iterator[Any]:
        make = self.frame or moving(self.pix_fmt, self.width, self.height)
        layout = layout_of(self.pix_fmt)
        for number, pts in enumerate(self.times):
            frame = make_frame(make(number), layout)
            frame.pts, frame.time_base = pts, BASE
            frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range = (
                self.colour
            )
            yield from video.encode(frame)
        yield from video.encode(None)


def tone(stream: Any, seconds: float) -> Iterator[Any]:
    """Stereo sound for a stream, encoded."""
    rng = np.random.default_rng(5)
    size = 960
    for number in range(int(seconds * RATE / size)):
        t = (number * size + np.arange(size)) / RATE
        wave = np.stack([np.sin(440 * 6.28 * t), np.sin(660 * 6.28 * t)]) * 0.4
        wave += rng.normal(0, 0.01, wave.shape)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.float32), "fltp", "stereo")
        frame.rate, frame.pts, frame.time_base = RATE, number * size, Fraction(1, RATE)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def decoded(path: Path) -> list[Any]:
    """All frames of a clip."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def packets(path: Path, kind: str) -> list[tuple[float, bytes]]:
    """Time in seconds and content of all packets of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in container.demux(stream)
            if packet.pts is not None
        ]

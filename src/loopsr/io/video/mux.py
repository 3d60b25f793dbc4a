"""Join finished segments and everything else of the source into one file, without encoding."""

from __future__ import annotations

import heapq
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

from loopsr.errors import VideoWriteError
from loopsr.io.video.clip import Clip, as_url, is_cover, main_stream, opened
from loopsr.io.video.codecs import CODECS, CONTAINERS
from loopsr.io.video.encoder import Coded, EncoderSpec, configure
from loopsr.io.video.pyav import first_line, pyav
from loopsr.io.video.segments import read_segment
from loopsr.io.video.streams import Copied, copy_stream, kept_tags
from loopsr.io.video.subtitles import convert_packet

log = logging.getLogger(__name__)
_LAST_ERRNO = 200  # FFmpeg's own errors are far above those of the system
# Tags that a container writes itself.
_OWN_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
# What MP4 has a place for; any other tag needs Apple's table of keys.
_MP4_TAGS = {
    *("title", "artist", "album_artist", "composer", "album", "date", "comment", "genre"),
    *("copyright", "grouping", "lyrics", "description", "synopsis", "show", "episode_id"),
    *("network", "track", "disc", "keywords", "creation_time", "encoder"),
}


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The part of the source that is kept: seconds from its zero; ``duration`` None: the rest."""

    start: float = 0.0
    duration: float | None = None

    def window(self, clip: Clip) -> tuple[Fraction, Fraction | None]:
        """First and last moment, on the source's own clock."""
        first = clip.origin + Fraction(self.start).limit_denominator(10**9)
        if self.duration is None:
            return first, None
        return first, first + Fraction(self.duration).limit_denominator(10**9)


def join(target: Path, clip: Clip, spec: EncoderSpec, segments: Sequence[Path], cut: Cut) -> None:
    """Write ``target``: the encoded frames, and the sound, subtitles, chapters, tags of the source.

    ``segments`` are the files of all segments, in order. ``target`` is written in place, so give a
    temporary name. Raises ``VideoReadError``, ``VideoWriteError`` and ``OSError``.
    """
    with opened(clip.path) as source, _Output(target, source, clip, spec, cut) as output:
        output.start()
        header = bytes(output.video.codec_context.extradata or b"")
        shown = []
        for path in segments:
            segment = read_segment(path)
            shown += [packet.pts for packet in segment.packets]
            if segment.extradata != header:
                raise VideoWriteError(
                    f"{target.name}: another encoder made a segment; delete the folder "
                    f"{path.parent} and start again"
                )
        output.mux(segments, decode_times(shown))


def rehearse(target: Path, clip: Clip, spec: EncoderSpec, cut: Cut) -> list[str]:
    """Write the head of the result, so that what does not fit fails before any computing.

    Returns what of the source cannot be kept, in words. Raises ``VideoWriteError``.
    """
    with opened(clip.path) as source:
        try:
            with _Output(target, source, clip, spec, cut) as output:
                output.start()
                return output.lost
        finally:
            target.unlink(missing_ok=True)


class _Output:
    """An output file with its streams; use as a context manager."""

    def __init__(self, path: Path, source: Any, clip: Clip, spec: EncoderSpec, cut: Cut) -> None:
        self._av = pyav()
        self._path, self._source, self._clip, self._spec = path, source, clip, spec
        self._first, self._last = cut.window(clip)
        self._main = main_stream(source, clip.path).index
        self._map: dict[int, Copied] = {}  # by the index in the source
        self.lost: list[str] = []
        self.video: Any = None
        self._file: Any = None

    def __enter__(self) -> _Output:
        muxer = CONTAINERS[self._suffix()]
        tags = {k: v for k, v in self._source.metadata.items() if k not in _OWN_TAGS}
        options = {}
        if muxer in ("mp4", "mov"):
            wide = muxer == "mp4" and not _MP4_TAGS.issuperset(tags)
            options["movflags"] = "+faststart" + "+use_metadata_tags" * wide
        self._file = self._av.open(
            as_url(self._path),
            "w",
            format=muxer,
            container_options=options,
            metadata_errors="replace",
        )
        self._file.metadata.update(tags)
        for stream in self._source.streams:
            self._add(stream)
        self._file.set_chapters(list(self._chapters()))
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(self._av.error.FFmpegError):  # an error before this one is the cause
            self._file.close()

    def start(self) -> None:
        """Write the head. Raises ``VideoWriteError`` when the container refuses a stream."""
        try:
            self._file.start_encoding()
        except (self._av.error.FFmpegError, ValueError) as error:
            raise VideoWriteError(
                f"{self._path.name}: the container refuses its streams ({first_line(error)}); "
                "name the result .mkv"
            ) from None

    def mux(self, segments: Sequence[Path], times: Sequence[int]) -> None:
        """Write all packets, in the order of time, and close the file."""
        base = self._spec.time_base
        shift = round(self._first / base)
        coded = (packet for path in segments for packet in read_segment(path).packets)
        frames = (
            (dts * base, 0, number, packet, dts)
            for number, (packet, dts) in enumerate(zip(coded, times, strict=True))
        )
        others = (
            (packet.dts * packet.time_base, 1, number, packet, 0)
            for number, packet in enumerate(self._others())
        )
        try:
            # The sound of a file is not quite sorted by time; merge needs no more than nearly.
            for _, kind, _, packet, dts in heapq.merge(frames, others, key=lambda item: item[:3]):
                if kind == 0:
                    self._file.mux(self._frame(packet, dts, shift))
                else:
                    self._file.mux(self._copied(packet))
            self._file.close()
        except self._av.error.FFmpegError as error:
            _raise_write_error(self._path, error)

    def _suffix(self) -> str:
        return self._path.suffix.lower()

    def _add(self, stream: Any) -> None:
        """Give an input stream its place in the output, or say that it is lost."""
        if stream.index == self._main:
            self._add_main(stream)
            return
        copied, lost = copy_stream(self._file, stream, self._clip.path, self._suffix())
        if copied is not None:
            self._map[stream.index] = copied
        if lost:
            self.lost.append(lost)

    def _add_main(self, stream: Any) -> None:
        spec = self._spec
        self.video = self._file.add_stream(CODECS[spec.codec].encoder, rate=spec.rate)
        configure(self.video.codec_context, spec)
        self.video.time_base = spec.time_base
        if self._clip.matrix is not None:
            self.video.set_display_matrix(self._clip.matrix)
        self.video.metadata.update(kept_tags(stream))
        self.video.disposition = stream.disposition

    def _chapters(self) -> Iterator[dict[str, Any]]:
        for chapter in self._source.chapters():
            base = chapter["time_base"]
            start, end = chapter["start"] * base, chapter["end"] * base
            if end <= self._first or (self._last is not None and start >= self._last):
                continue
            start, end = max(start, self._first), min(end, self._last or end)
            yield {
                **chapter,
                "start": round((start - self._first) / base),
                "end": round((end - self._first) / base),
            }

    def _others(self) -> Iterator[Any]:
        """Packets of all streams but the pictures, inside the window, still on the old clock."""
        streams = [
            s for s in self._source.streams if s.index in self._map and s.type != "attachment"
        ]
        if not streams:
            return
        for stream in self._source.streams:
            if stream not in streams:
                stream.discard = self._av.stream.Discard.all
        if self._first > self._clip.origin:
            self._source.seek(int(self._first * 1_000_000), backward=True)
        packets = self._source.demux(streams)
        while True:
            try:
                packet = next(packets, None)
            except self._av.error.FFmpegError as error:
                log.warning(
                    "%s: the sound ends early (%s)", self._clip.path.name, first_line(error)
                )
                return
            if packet is None:
                return
            if not packet.size:
                continue  # at the end of a stream
            cover = is_cover(packet.stream)
            if cover:  # it has no time of its own
                packet.pts = packet.dts = round(self._first / packet.time_base)
            if packet.pts is None and packet.dts is None:
                continue
            if packet.dts is None:
                packet.dts = packet.pts
            pts = packet.pts if packet.pts is not None else packet.dts
            begin, end = pts * packet.time_base, (pts + (packet.duration or 0)) * packet.time_base
            if not cover and end <= self._first and self._first > self._clip.origin:
                continue
            if not cover and self._last is not None and begin >= self._last:
                continue
            yield packet

    def _frame(self, coded: Coded, dts: int, shift: int) -> Any:
        packet = self._av.Packet(coded.data)
        packet.pts, packet.dts = coded.pts - shift, dts - shift
        packet.duration, packet.time_base = coded.duration, self._spec.time_base
        packet.is_keyframe = coded.key
        packet.stream = self.video
        return packet

    def _copied(self, packet: Any) -> Any:
        copied = self._map[packet.stream.index]
        stream = copied.stream
        shift = round(self._first / packet.time_base)
        if copied.twin is not None:
            packet = convert_packet(packet, copied.twin)
        if packet.pts is not None:
            packet.pts -= shift
        packet.dts -= shift
        if stream.type == "subtitle" and packet.pts is not None and packet.pts < 0:
            packet.duration = max(0, (packet.duration or 0) + packet.pts)
            packet.pts = packet.dts = 0
        packet.stream = stream
        return packet


def decode_times(shown: Sequence[int]) -> list[int]:
    """When packets that are ``shown`` at these times are decoded: increasing, never after that.

    Computed anew over all segments, since those that the encoder gave fit within a segment only.
    """
    order = sorted(shown)
    place = {pts: index for index, pts in enumerate(order)}
    # How many packets come before one that is shown earlier.
    delay = max((index - place[pts] for index, pts in enumerate(shown)), default=0)
    # MP4 keeps the steps between these times as the durations.
    step = order[1] - order[0] if len(order) > 1 else 1
    return [
        order[index - delay] if index >= delay else order[0] - (delay - index) * step
        for index in range(len(shown))
    ]


def _raise_write_error(path: Path, error: Any) -> NoReturn:
    if error.errno is not None and 0 < error.errno < _LAST_ERRNO:
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
    raise VideoWriteError(
        f"{path.name}: cannot be written ({first_line(error)}); name the result .mkv"
    ) from None

"""Upscale one video, from a file to a file."""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from loopsr.apps.video.pace import Pace, VideoProgress
from loopsr.apps.video.plan import OpenedVideo, VideoResult, VideoSettings, open_video
from loopsr.apps.video.work import WorkFolder, disk_error
from loopsr.engine.frames import FrameUpscaler
from loopsr.engine.upscaler import Upscaler
from loopsr.errors import Cancelled, VideoReadError
from loopsr.io.video.clip import Moment
from loopsr.io.video.encoder import Coded, SegmentEncoder
from loopsr.io.video.layout import read_planes
from loopsr.io.video.mux import join, rehearse
from loopsr.io.video.segments import Segment
from loopsr.io.writer import check_writable

log = logging.getLogger(__name__)
_AHEAD = 2  # frames that may wait for the encoder
# Told where the work is; may return False to stop.
Progress = Callable[[VideoProgress], bool | None]
# Held while a network runs, for videos and pictures that are worked on at once.
Turn = Callable[[], AbstractContextManager[object]]
# Given the complete file and what was done, before it gets its name.
Seal = Callable[[Path, VideoResult], None]


def run(
    source: str | Path,
    target: str | Path,
    *,
    upscaler: Upscaler | None = None,
    settings: VideoSettings | None = None,
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
    start = time.monotonic()
    opened = open_video(
        source,
        target,
        upscaler=upscaler or Upscaler(),
        settings=settings,
        scale=scale,
        width=width,
        height=height,
        long_edge=long_edge,
    )
    result = write_video(opened, overwrite=overwrite, progress=progress)
    return replace(result, seconds=round(time.monotonic() - start, 3))


def write_video(
    opened: OpenedVideo,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    turn: Turn = nullcontext,
    seal: Seal | None = None,
) -> VideoResult:
    """The second half of ``run``: check the target, then compute, encode and join."""
    start = time.monotonic()
    source, target = opened.clip.path, opened.target
    check_writable(target, overwrite=overwrite, source=source)
    with WorkFolder(target, opened.identity()) as work:
        # After the container itself was asked: what does not fit fails before any computing.
        head = rehearse(work.path / target.name, opened.clip, opened.spec, opened.cut)
        for loss in (*opened.losses, *head):
            log.warning("%s: %s", source.name, loss)
        pace = Pace(opened.expected_frames, progress)
        frames = opened.make_frames()
        try:
            count = _Road(opened, work, pace, frames, turn).make_segments()
        except Cancelled:
            if work.frames:
                kept = f"{work.frames} finished frames are kept; the same command goes on"
                log.warning("%s: %s", target, kept)
            raise Cancelled(f"{target}: stopped; {work.frames} finished frames are kept") from None
        result = replace(
            opened.describe(frames, count=work.frames, seconds=time.monotonic() - start),
            resumed=work.frames - pace.computed,
        )
        _finish(opened, work, count, result, overwrite=overwrite, seal=seal)
    return replace(result, seconds=round(time.monotonic() - start, 3))


@dataclass(frozen=True)
class _Road:
    """From the frames of the source to finished segments."""

    opened: OpenedVideo
    work: WorkFolder
    pace: Pace
    frames: FrameUpscaler
    turn: Turn

    def make_segments(self) -> int:
        """Make the segments that are missing; gives the number of all."""
        if self.work.total is not None:
            return self.work.total
        clip, cut = self.opened.clip, self.opened.cut
        moments = clip.frames(cut.start, cut.duration)
        count = 0
        for first in moments:
            known = self.work.find(count)
            if known is not None and known[0] == first.pts:
                self.pace.skip(known[1])
                # Frames that are done are decoded all the same: the next ones depend on them.
                for _ in itertools.islice(moments, known[1] - 1):
                    self.pace.within(0.0)
            else:
                self.work.forget(count)
                rest = itertools.islice(moments, self.opened.segment_length - 1)
                self.work.store(count, self._segment(itertools.chain((first,), rest)))
            count += 1
        if not count:
            raise VideoReadError(
                f"{clip.path.name}: there is no frame at {cut.start:g} s; "
                f"it lasts {clip.duration or 0:.2f} s, pass a smaller --start"
            )
        self.work.total = count
        return count

    def _segment(self, moments: Iterator[Moment]) -> Segment:
        encoder = SegmentEncoder(self.opened.spec)
        packets: list[Coded] = []
        waiting: deque[Future[list[Coded]]] = deque()
        # While the network works on a frame, the last ones are encoded.
        with ThreadPoolExecutor(1, thread_name_prefix="loopsr-encoder") as pool:
            for moment in moments:
                planes = read_planes(moment.frame, self.opened.clip.layout)
                with self.turn():
                    planes = self.frames(planes, self.pace.within)
                waiting.append(
                    pool.submit(encoder.encode, planes, pts=moment.pts, duration=moment.duration)
                )
                if len(waiting) > _AHEAD:
                    packets += waiting.popleft().result()
                self.pace.frame_done()
            for future in waiting:
                packets += future.result()
        packets += encoder.finish()
        return Segment(extradata=encoder.extradata, packets=tuple(packets))


def _finish(
    opened: OpenedVideo,
    work: WorkFolder,
    count: int,
    result: VideoResult,
    *,
    overwrite: bool,
    seal: Seal | None,
) -> None:
    """Join the segments and put the result in its place."""
    part = work.path / opened.target.name
    try:
        segments = [work.segment(number) for number in range(count)]
        join(part, opened.clip, opened.spec, segments, opened.cut)
        check_writable(opened.target, overwrite=overwrite, source=opened.clip.path)
        if seal is not None:
            seal(part, result)
        part.replace(opened.target)
    except OSError as error:
        raise disk_error(opened.target, error) from None
    finally:
        part.unlink(missing_ok=True)
    work.remove()


__all__ = ["OpenedVideo", "VideoProgress", "VideoResult", "VideoSettings", "run", "write_video"]

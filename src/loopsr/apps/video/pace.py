"""How far a video is, how fast it goes, and how long the rest takes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from loopsr.errors import Cancelled

_WINDOW = 32  # frames over which the speed is taken


@dataclass(frozen=True, kw_only=True)
class VideoProgress:
    """``done`` is 0 to 1; ``frames`` are finished of about ``total`` (0: not known); ``speed`` is
    in frames a second, ``left`` in seconds; both None until they are known."""

    done: float
    frames: int
    total: int
    speed: float | None
    left: float | None


class Pace:
    """Counts frames and tells a callback. ``computed`` are those of this run."""

    def __init__(self, total: int, progress: Callable[[VideoProgress], bool | None] | None) -> None:
        self._total = total
        self._progress = progress
        self._frames = 0
        self._times = deque([time.monotonic()], maxlen=_WINDOW)
        self.computed = 0

    def skip(self, frames: int) -> None:
        """Frames of an earlier run."""
        self._frames += frames
        self._tell(0.0)
        self._times[-1] = time.monotonic()

    def within(self, fraction: float) -> bool:
        """A part of the frame in the works is done."""
        self._tell(fraction)
        return True

    def frame_done(self) -> None:
        """A frame is encoded."""
        self._frames += 1
        self.computed += 1
        self._times.append(time.monotonic())
        self._tell(0.0)

    def _tell(self, fraction: float) -> None:
        if self._progress is None:
            return
        total = max(self._total, self._frames)
        elapsed = self._times[-1] - self._times[0]
        speed = (len(self._times) - 1) / elapsed if elapsed > 0 and self.computed else None
        left = (total - self._frames - fraction) / speed if speed and self._total else None
        state = VideoProgress(
            done=min(1.0, (self._frames + fraction) / total) if self._total else 0.0,
            frames=self._frames,
            total=self._total,
            speed=speed,
            left=left,
        )
        if self._progress(state) is False:
            raise Cancelled("stopped by the progress callback")

"""Keep a picture within its time: how many steps the tiles that are left can afford.

A plan is made from the measured speed of this machine (``loopsr.engine.speed``), but a machine has
other things to do as well. So the clock is looked at before every tile, the speed is corrected by
what the last tiles took, and the steps of the tiles that are left are lowered when all of them
would no longer fit; in the end to none, which is bicubic. They do not rise again, except from none
to one when that fits for all that is left: a picture is to look alike.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Clock = Callable[[], float]
# The share of the limit that is planned with; the rest is for what nobody foresees.
PLANNED = 0.9
_TRUST = 0.5  # of the newest tile, in the correction of a speed
_SURE = 0.9  # of the time that is left must do, before bicubic ends again
_TELLING = 0.2  # share of the work after which the time between tiles tells of the rest


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Seconds that an input pixel takes: by bicubic, by the first step, by each further step."""

    none: float
    first: float
    step: float

    def of(self, steps: int) -> float:
        """Seconds a pixel of so many steps."""
        return self.none if steps == 0 else self.first + (steps - 1) * self.step


@dataclass(kw_only=True)
class Load:
    """The work of one pass: input ``pixels`` that are left, at most ``most`` steps each."""

    speed: Speed
    pixels: float
    most: int

    def seconds(self, steps: int) -> float:
        """What is left at so many steps, by the speed that was measured."""
        return self.pixels * self.speed.of(min(steps, self.most))


class Pace:
    """The time of one picture, from now on; safe to share by threads.

    ``bicubic`` counts the input pixels that no network saw for want of time.
    """

    def __init__(self, limit: float, *, clock: Clock = time.monotonic) -> None:
        self._limit, self._clock = limit, clock
        self._begun = clock()
        self._lock = threading.Lock()
        self._loads: list[Load] = []
        self._total = 1.0  # pixels
        self._rest, self._at_end = 0.0, False
        self._spent = 0.0  # in networks
        self._steps = 0  # that a tile may take at the most
        self._over = False  # there was no time for a network
        # What tiles took to what was measured, of networks (True) and bicubic, once there were any.
        self._factors: dict[bool, float] = {}
        self.bicubic = 0.0

    @property
    def limit(self) -> float:
        """The seconds that the whole picture may take."""
        return self._limit

    def left(self) -> float:
        """Seconds until the planned end; below 0 when it is over."""
        return self._begun + PLANNED * self._limit - self._clock()

    def start(self, loads: Sequence[Load], *, rest: float, at_end: bool = False) -> None:
        """Say what is to be done: the passes, and ``rest``, the seconds for everything else, which
        fall ``at_end`` or as the tiles do."""
        self._loads = list(loads)
        self._total = sum(load.pixels for load in loads) or 1.0
        self._rest, self._at_end = rest, at_end
        self._steps = max(load.most for load in loads)
        self._started = self._clock()

    def steps(self, number: int, pixels: float) -> int:
        """The steps that the next tile of pass ``number``, of so many pixels, may take."""
        with self._lock:
            budget = self.left() - self._rest_left()
            while self._steps > 1 and self._needs(self._steps) > budget:
                self._steps -= 1
            if self._steps == 1 and self._needs(1) > budget:
                self._steps = 0
            if self._steps == 0 and self._needs(1) <= _SURE * budget:
                self._steps, self._over = 1, False
            if self._steps:
                return min(self._steps, self._loads[number].most)
            # Not enough for one step everywhere: one here, if all the others may be bicubic. Once
            # they are, they stay so, or the picture would be patched.
            speed = self._loads[number].speed
            more = pixels * (speed.of(1) * self._factor(1) - speed.none * self._factor(0))
            self._over = self._over or self._needs(0) + more > budget
            return 0 if self._over else 1

    def note(self, number: int, pixels: float, steps: int, seconds: float) -> None:
        """Say what the network, or bicubic, took for a tile."""
        with self._lock:
            self._spent += seconds
            if steps == 0:
                self.bicubic += pixels
            expected = pixels * self._loads[number].speed.of(steps)
            if expected > 0:
                known = self._factors.get(steps > 0, 1.0)
                self._factors[steps > 0] = known + _TRUST * (seconds / expected - known)

    def done(self, number: int, pixels: float) -> None:
        """Say that so many pixels of a pass are done, whatever did them."""
        with self._lock:
            self._loads[number].pixels = max(0.0, self._loads[number].pixels - pixels)

    def _needs(self, steps: int) -> float:
        return self._factor(steps) * sum(load.seconds(steps) for load in self._loads)

    def _factor(self, steps: int) -> float:
        """How much slower it is than measured; what was not tried is as slow as the other."""
        other = max(1.0, self._factors.get(steps == 0, 1.0))
        return self._factors.get(steps > 0, other)

    def _rest_left(self) -> float:
        """Seconds for reading, writing and the like: as expected, or more if it was more so far."""
        left = sum(load.pixels for load in self._loads) / self._total
        if self._at_end:
            return self._rest
        done = 1 - left
        seen = self._clock() - self._started - self._spent
        rest = max(self._rest, seen / done) if done > _TELLING else self._rest
        return rest * left

"""Tiles against the clock: each with as many steps as the time that is left allows."""

from __future__ import annotations

import time
from collections.abc import Callable

from loopsr.engine.pace import Clock, Pace
from loopsr.engine.runners import Array, Bicubic, Box, Core, Runner, crop


class Timed:
    """Asks the pace of a picture before each tile; see ``Runner``."""

    def __init__(
        self,
        pace: Pace,
        number: int,
        *,
        runner: Callable[[int], Runner],
        halo: Callable[[int], int],
        scale: int,
        unit: int,
        clock: Clock = time.monotonic,
    ) -> None:
        """For pass ``number``; ``runner`` gives what runs a number of steps, ``halo`` the input
        pixels that it has to see."""
        self.unit = unit
        self._pace, self._number, self._runner, self._halo = pace, number, runner, halo
        self._scale, self._clock = scale, clock

    def run_core(self, window: Array, core: Box) -> Core:
        """As ``Runner``."""
        pixels = float((core[1] - core[0]) * (core[3] - core[2]))
        steps = self._pace.steps(self._number, pixels)
        start = self._clock()
        if steps == 0:
            done = Bicubic(scale=self._scale).run_core(window, core)
        else:
            done = self._runner(steps).run_core(*crop(window, core, self._halo(steps)))
        self._pace.note(self._number, pixels, steps, self._clock() - start)
        return done

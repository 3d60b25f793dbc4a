"""Tiles against the clock: each with as many steps as the time that is left allows."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from loopsr.engine.pace import Clock, Pace
from loopsr.engine.runners import Array, Box, Core, Runner
from loopsr.ops.enlarge import REACH, enlarge


class Bicubic:
    """No network at all; see ``Runner``."""

    unit = 1

    def __init__(self, *, scale: int) -> None:
        self._scale = scale

    def run_core(self, window: Array, core: Box) -> Core:
        """As ``Runner``."""
        cut, inner = crop(window, core, REACH)
        top, bottom, left, right = (self._scale * edge for edge in inner)
        return Core(enlarge(cut, self._scale)[0, :, top:bottom, left:right], 0)


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


def crop(window: Array, core: Box, halo: int) -> tuple[Array, Box]:
    """The window cut to the core and ``halo`` pixels around it, and the core in that."""
    top, left = max(0, core[0] - halo), max(0, core[2] - halo)
    cut = window[:, :, top : core[1] + halo, left : core[3] + halo]
    inner = (core[0] - top, core[1] - top, core[2] - left, core[3] - left)
    return np.ascontiguousarray(cut), inner

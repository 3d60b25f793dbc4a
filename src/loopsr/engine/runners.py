"""What upscales the core of a tile: a fixed network, steps as needed, against a clock, bicubic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from loopsr.engine.backends import Backend
from loopsr.ops.enlarge import REACH, SHARPEN_REACH, enlarge, sharpened

Array = NDArray[np.float32]
Box = tuple[int, int, int, int]  # top, bottom, left, right in input pixels
# One number a cell of a runner's ``unit`` pixels, or one for all; 0 where no network ran.
Steps = NDArray[np.int8] | int


class Core(NamedTuple):
    """An upscaled core, (3, sh, sw), not clamped, and the steps that it took."""

    pixels: Array
    steps: Steps


@runtime_checkable
class Runner(Protocol):
    """Upscales cores of tiles; may be called from several threads at once.

    A core begins at a multiple of ``unit`` input pixels of the picture.
    """

    unit: int

    def run_core(self, window: Array, core: Box) -> Core:
        """Upscale the ``core`` of ``window``, float32 (1, 3, h, w) in [0, 1].

        The window holds the halo around its core, less only at the picture's border. Raises
        ``BackendError``.
        """
        ...


class Whole:
    """A backend as it is: it runs on the window, and the core is cut out."""

    unit = 1

    def __init__(self, backend: Backend, *, scale: int, steps: int = 1) -> None:
        self._backend = backend
        self._scale = scale
        self._steps = steps

    def run_core(self, window: Array, core: Box) -> Core:
        """As ``Runner``."""
        top, bottom, left, right = (self._scale * edge for edge in core)
        return Core(self._backend.run(window)[0, :, top:bottom, left:right], self._steps)


class Bicubic:
    """No network at all: the core, ``sharpened`` by these weights before it is enlarged."""

    unit = 1

    def __init__(self, *, scale: int, sharpen: Sequence[float] = ()) -> None:
        self._scale, self._sharpen = scale, sharpen

    def run_core(self, window: Array, core: Box) -> Core:
        """As ``Runner``."""
        cut, inner = crop(window, core, REACH + SHARPEN_REACH * bool(self._sharpen))
        top, bottom, left, right = (self._scale * edge for edge in inner)
        large = enlarge(sharpened(cut, self._sharpen), self._scale)
        return Core(large[0, :, top:bottom, left:right], 0)


def crop(window: Array, core: Box, halo: int) -> tuple[Array, Box]:
    """The window cut to the core and ``halo`` pixels around it, and the core in that."""
    top, left = max(0, core[0] - halo), max(0, core[2] - halo)
    cut = window[:, :, top : core[1] + halo, left : core[3] + halo]
    inner = (core[0] - top, core[1] - top, core[2] - left, core[3] - left)
    return np.ascontiguousarray(cut), inner

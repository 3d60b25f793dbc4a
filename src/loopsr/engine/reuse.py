"""Tiles of the last frame: where a frame has not changed, its result is taken again.

Exact, not a guess: a tile is taken only when its input, with all the context that the network
sees, is the same to the last bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Box = tuple[int, int, int, int]


class TileMemory:
    """Inputs and outputs of the tiles of one pass over the last frame.

    ``hits`` counts the tiles that were taken again, ``misses`` those that were computed.
    """

    def __init__(self) -> None:
        self._tiles: dict[Box, tuple[Array, Array]] = {}
        self.hits = 0
        self.misses = 0

    def find(self, box: Box, pixels: Array) -> Array | None:
        """The output of the core ``box`` when its input (h, w, 3) is ``pixels`` again."""
        known = self._tiles.get(box)
        if known is not None and np.array_equal(known[0], pixels):
            self.hits += 1
            return known[1]
        self.misses += 1
        return None

    def keep(self, box: Box, pixels: Array, output: Array) -> None:
        """Remember a tile; both arrays are copied, they are parts of larger ones."""
        self._tiles[box] = (pixels.copy(), output.copy())


class FrameMemory:
    """One ``TileMemory`` a pass, for a stream of frames of one size."""

    def __init__(self) -> None:
        self.passes: list[TileMemory] = []

    def of_pass(self, number: int) -> TileMemory:
        """The memory of pass ``number``, counted from 0."""
        while len(self.passes) <= number:
            self.passes.append(TileMemory())
        return self.passes[number]

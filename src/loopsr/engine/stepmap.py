"""How many steps of the network each part of a picture took, and a picture of that."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loopsr.engine.runners import Box, Steps


class StepMap:
    """Collects the steps of the tiles of one picture; ``unit`` is the side of a cell in pixels."""

    def __init__(self, unit: int = 1) -> None:
        self.unit = unit
        self._tiles: list[tuple[Box, Steps]] = []

    def add(self, box: Box, steps: Steps) -> None:
        """Note the steps of a tile, which lies at ``box``; a ``Watch``."""
        self._tiles.append((box, steps))

    def mean(self) -> float | None:
        """Mean steps of an input pixel; None when nothing was noted."""
        total = area = 0.0
        for box, steps in self._tiles:
            sizes = np.outer(*(self._sides(box[i + 1] - box[i], steps, i // 2) for i in (0, 2)))
            total += float((sizes * steps).sum())
            area += float(sizes.sum())
        return round(total / area, 3) if area else None

    def pixels(self, width: int, height: int, *, most: int = 1024) -> NDArray[np.int8]:
        """The steps of every n-th pixel of a picture, so that no side is longer than ``most``."""
        every = max(1, -(-max(width, height) // most))
        result = np.zeros((-(-height // every), -(-width // every)), np.int8)
        for (top, bottom, left, right), steps in self._tiles:
            # The first pixels at or after the edges that are in the result.
            rows = np.arange(-(-top // every), -(-bottom // every))
            columns = np.arange(-(-left // every), -(-right // every))
            tile = np.asarray(steps, np.int8)
            if tile.ndim:
                y, x = (rows * every - top) // self.unit, (columns * every - left) // self.unit
                tile = tile[np.ix_(y, x)]
            result[rows[:, None], columns[None]] = tile
        return result

    def _sides(self, length: int, steps: Steps, axis: int) -> NDArray[np.float64]:
        """The lengths of the cells along an axis."""
        if isinstance(steps, int):
            return np.array([float(length)])
        edges = np.arange(steps.shape[axis] + 1.0) * self.unit
        return np.diff(edges.clip(0, length))

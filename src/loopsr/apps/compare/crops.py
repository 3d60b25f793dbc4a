"""Where pictures of one size differ most: the places that are worth a look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from loopsr.metrics.psnr import luma

Pixels = NDArray[np.uint8]
_LEAST = 1e-3  # squared levels; sums of floats leave a trace where nothing differs
_STEPS = 4  # places that are tried within the length of a crop


def choose_crops(pictures: Sequence[Pixels], *, size: int, count: int) -> list[tuple[int, int]]:
    """(top, left) of up to ``count`` squares of ``size``, the most different first, none twice.

    How much (h, w, 3) pictures differ at a pixel is the standard deviation of their lumas; a
    square's difference is its root mean square. Squares do not overlap. Pictures that are smaller
    than ``size``, or all equal, have none.
    """
    spread = _spread(pictures)
    height, width = spread.shape
    if min(height, width) < size:
        return []
    sums = np.pad(np.square(spread).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    tops, lefts = (_places(side, size) for side in (height, width))
    y, x = tops[:, None], lefts[None, :]
    energy = sums[y + size, x + size] - sums[y, x + size] - sums[y + size, x] + sums[y, x]
    chosen: list[tuple[int, int]] = []
    while len(chosen) < count:
        i, j = np.unravel_index(int(energy.argmax()), energy.shape)
        if energy[i, j] < _LEAST:
            break
        chosen.append((int(tops[i]), int(lefts[j])))
        overlaps = (abs(y - tops[i]) < size) & (abs(x - lefts[j]) < size)
        energy[overlaps] = 0
    return chosen


def _spread(pictures: Sequence[Pixels]) -> NDArray[np.float64]:
    """The standard deviation over pictures, one in memory at a time."""
    total, squares = np.zeros(pictures[0].shape[:2]), np.zeros(pictures[0].shape[:2])
    for picture in pictures:
        plane = luma(picture)
        total += plane
        squares += plane * plane
    variance = squares / len(pictures) - np.square(total / len(pictures))
    variance[variance < 1e-6] = 0  # what is left of equal values
    result: NDArray[np.float64] = np.sqrt(variance)
    return result


def _places(length: int, size: int) -> NDArray[np.intp]:
    """Where a square may begin: a fine grid, with both ends."""
    return np.unique(np.append(np.arange(0, length - size, max(1, size // _STEPS)), length - size))

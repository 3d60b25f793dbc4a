"""Let the picture of more steps pass into that of fewer, so that no border is seen.

The weight of a stop at a pixel is 1 in the cells that go on to it and in the first pixel around
them, then falls to 0 over some input pixels. Between the centres of input pixels it is
interpolated, so from one output pixel to the next it changes by 1 / (those pixels * scale) at most.
A stop that follows another never weighs more than that one, and the picture of a stop has the share
by which it weighs more than the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from loopsr.engine.runners import Array

RAMP = 32  # input pixels from the first stop, which may be bicubic, to the second
LATER_RAMP = 16  # between two later stops, whose pictures are alike
REACH = RAMP + 1  # from a cell to the last pixel that it may change


def shares(steps: NDArray[np.int8], stops: Sequence[int], cell: int) -> list[Array]:
    """The share that the picture of each stop has at each input pixel; together 1.

    ``steps`` (rows, columns) are those of cells of ``cell`` x ``cell`` input pixels; gives
    (cell rows, cell columns) for each of ``stops``.
    """
    height, width = cell * steps.shape[0], cell * steps.shape[1]
    found = [np.ones((height, width), np.float32)]
    for place, stop in enumerate(stops[1:]):
        weights = ramp(steps >= stop, cell, LATER_RAMP if place else RAMP)
        found[-1] -= weights
        found.append(weights)
    return found


def ramp(inside: NDArray[np.bool_], cell: int, length: int) -> Array:
    """Weights of input pixels: 1 in the cells ``inside`` and one pixel around, then falling to 0
    over ``length``, by the larger one of the distances in rows and in columns."""
    # The smaller one of the weights in rows and in columns; its maximum over cells is found in two
    # passes.
    weights = _spread(inside.astype(np.float32), cell, length)
    return np.ascontiguousarray(_spread(weights.T, cell, length).T)


def _spread(weights: Array, cell: int, length: int) -> Array:
    """Rows of cells become rows of pixels: (n, m) gives (cell n, m)."""
    spread = np.repeat(weights[:, None], cell, axis=1)
    for apart in range(1, -(-(length + 1) // cell) + 1):
        near = (apart - 1) * cell + np.arange(1, cell + 1, dtype=np.float32)  # to the cell before
        fall = (1 - (near - 1) / length).clip(0, 1)[:, None]
        for to, value, limit in (
            (spread[apart:], weights[:-apart], fall),
            (spread[:-apart], weights[apart:], fall[::-1]),
        ):
            np.maximum(to, np.minimum(value[:, None], limit), out=to)
    return spread.reshape(-1, weights.shape[1])


def enlarged(share: Array, scale: int) -> Array:
    """The share at output pixels, linear between the centres of input pixels.

    ``share`` (h + 2, w + 2) has one more on each side; gives (scale h, scale w).
    """
    return _lengthened(_lengthened(share, scale).T, scale).T


def _lengthened(share: Array, scale: int) -> Array:
    before, middle, after = share[:-2], share[1:-1], share[2:]
    rows = np.empty((len(middle), scale, share.shape[1]), np.float32)
    for phase in range(scale):
        shift = (phase + 0.5) / scale - 0.5  # from the centre of the input pixel
        other = before if shift < 0 else after
        np.multiply(other - middle, np.float32(abs(shift)), out=rows[:, phase])
        rows[:, phase] += middle
    return rows.reshape(-1, share.shape[1])

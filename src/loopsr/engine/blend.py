"""Let the picture of more steps pass into that of fewer, so that no border is seen.

The weight of a pixel is 1 in the cells with more steps and in the first pixel around them, then
falls to 0 over ``RAMP`` input pixels. Between the centres of input pixels it is interpolated, so
from one output pixel to the next it changes by 1 / (RAMP scale) at most.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loopsr.engine.runners import Array

RAMP = 32  # input pixels
REACH = RAMP + 1  # from a cell to the last pixel that it may change


def ramp(inside: NDArray[np.bool_]) -> Array:
    """Weights (h, w) of input pixels: 1 where ``inside`` and one pixel around, then falling."""
    weights = np.zeros(inside.shape, np.float32)
    for distance in range(REACH):
        fresh = inside & (weights == 0)
        weights[fresh] = 1 - max(0, distance - 1) / RAMP
        grown = inside.copy()
        grown[1:] |= inside[:-1]
        grown[:-1] |= inside[1:]
        inside = grown.copy()
        inside[:, 1:] |= grown[:, :-1]
        inside[:, :-1] |= grown[:, 1:]
    return weights


def enlarged(weights: Array, scale: int) -> Array:
    """Weights of output pixels, linear between the centres of input pixels.

    ``weights`` (h + 2, w + 2) have one more on each side; gives (scale h, scale w).
    """
    return _lengthened(_lengthened(weights, scale).T, scale).T


def _lengthened(weights: Array, scale: int) -> Array:
    before, middle, after = weights[:-2], weights[1:-1], weights[2:]
    rows = np.empty((len(middle), scale, weights.shape[1]), np.float32)
    for phase in range(scale):
        shift = (phase + 0.5) / scale - 0.5  # from the centre of the input pixel
        other = before if shift < 0 else after
        np.multiply(other - middle, np.float32(abs(shift)), out=rows[:, phase])
        rows[:, phase] += middle
    return rows.reshape(-1, weights.shape[1])


def blend(output: Array, picture: Array, weights: Array) -> None:
    """Bring ``output`` (3, h, w) to ``picture`` by ``weights`` (h, w); exact at 0 and at 1."""
    if weights.min() == 1:
        output[:] = picture
        return
    output *= 1 - weights
    output += picture * weights

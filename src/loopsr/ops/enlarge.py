"""Bicubic by a whole factor, quickly: what ``ops.resize`` gives of floats, in float32.

Every output pixel between the same two input pixels has the same four weights, so a whole plane
is a few sums of itself, moved.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loopsr.ops.resize import cubic

REACH = 2  # input pixels that an output pixel sees on each side
Array = NDArray[np.float32]


def enlarge(image: Array, scale: int) -> Array:
    """(..., h, w) float32 to (..., scale h, scale w), neither rounded nor cut; borders mirrored."""
    rows = _lengthened(np.moveaxis(image, -2, 0), scale)
    columns = _lengthened(np.moveaxis(rows, -1, 0), scale)  # (w, h, ...)
    return np.moveaxis(columns, (0, 1), (-1, -2))


def _lengthened(image: Array, scale: int) -> Array:
    """(n, ...) to (scale n, ...)."""
    count = len(image)
    padded = np.pad(image, [(REACH, REACH)] + [(0, 0)] * (image.ndim - 1), mode="symmetric")
    result = np.empty((count, scale, *image.shape[1:]), np.float32)
    for phase in range(scale):
        place = (phase + 0.5) / scale - 0.5  # of the output pixel, from the input pixel
        taps = range(-2, 2) if place < 0 else range(-1, 3)
        weights = cubic(place - np.array(taps)).astype(np.float32)
        plane = result[:, phase]
        plane[...] = 0
        for tap, weight in zip(taps, weights, strict=True):
            if weight:
                plane += weight * padded[REACH + tap : REACH + tap + count]
    return result.reshape(scale * count, *image.shape[1:])

"""One axis sampled again at any positions: for planes that are not on a common grid."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from loopsr.ops.resize import lanczos3

_LOBES = 3.0


def resample_axis(
    plane: NDArray[np.float32], *, axis: int, length: int, start: float, step: float = 1.0
) -> NDArray[np.float32]:
    """Sample a plane (h, w) along one axis at ``start + step * j`` for ``length`` values of j.

    Positions are in samples of the plane, 0 being the centre of its first one. Lanczos of three
    lobes, widened where ``step`` is above 1; beyond the borders the last sample goes on. A flat
    plane stays flat to a few units in the last place.
    """
    stretch = max(1.0, step)
    reach = _LOBES * stretch
    centre = start + step * np.arange(length)
    first = np.floor(centre - reach).astype(np.intp) + 1
    index = first[:, None] + np.arange(math.ceil(2 * reach))
    weights = lanczos3((centre[:, None] - index) / stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    index = index.clip(0, plane.shape[axis] - 1)
    shape = (-1, 1) if axis == 0 else (1, -1)
    size = (length, plane.shape[1]) if axis == 0 else (plane.shape[0], length)
    result = np.zeros(size, np.float32)
    for tap in range(index.shape[1]):
        weight = weights[:, tap].astype(np.float32).reshape(shape)
        if weight.any():
            result += weight * plane.take(index[:, tap], axis=axis)
    return result

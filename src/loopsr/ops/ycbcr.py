"""MATLAB's ``rgb2ycbcr`` and ``ycbcr2rgb``: ITU-R BT.601, luma 16..235, for values 0..255."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

# Rows: luma, blue difference, red difference; columns: red, green, blue.
MATRIX = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
MATRIX /= 255
OFFSET = np.array([16.0, 128.0, 128.0])
_INVERSE = np.linalg.inv(MATRIX)


def to_ycbcr(rgb: NDArray[Any]) -> Float:
    """(h, w, 3) of 0..255 as luma and the two colour differences, not rounded."""
    result: Float = rgb.astype(np.float64) @ MATRIX.T + OFFSET
    return result


def from_ycbcr(ycbcr: Float) -> Float:
    """The inverse of ``to_ycbcr``: (h, w, 3) RGB around 0..255, neither rounded nor cut off."""
    result: Float = (ycbcr - OFFSET) @ _INVERSE.T
    return result

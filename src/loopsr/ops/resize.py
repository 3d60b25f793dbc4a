"""MATLAB's ``imresize``, to the last bit: the degradation and the baseline of the field.

Every published super-resolution number rests on MATLAB's bicubic: ``a = -0.5``, a kernel widened by
``1 / scale`` when shrinking, symmetric borders, rows first, then columns, and for 8-bit pictures a
rounding after *each* pass. Rounding only once changes every tenth pixel by one level.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.errors import ImageError

Array = NDArray[Any]
_CUBIC_A = -0.5


def cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic with ``a = -0.5``, support 4 (Keys 1981)."""
    x = np.abs(x)
    a = _CUBIC_A
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def lanczos3(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lanczos window of three lobes, support 6."""
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


def triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear interpolation, support 2."""
    return np.where(np.abs(x) < 1, 1 - np.abs(x), 0.0)


def box(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest pixel, or the mean of an area when shrinking; support 1."""
    return np.where((x >= -0.5) & (x < 0.5), 1.0, 0.0)


Kernel = Callable[[NDArray[np.float64]], NDArray[np.float64]]
# name -> (kernel, support in input pixels at scale 1); those that networks are compared with
KERNELS: dict[str, tuple[Kernel, float]] = {"bicubic": (cubic, 4.0), "lanczos": (lanczos3, 6.0)}
# All that ``resize`` knows: pictures are also made small by cheaper ones.
ALL_KERNELS = KERNELS | {"bilinear": (triangle, 2.0), "box": (box, 1.0)}


def _contributions(
    length: int, out_length: int, scale: float, kernel: str
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Weights and source indices, both (out_length, taps), of one axis."""
    function, support = ALL_KERNELS[kernel]
    stretch = min(scale, 1.0)  # shrinking widens the kernel: antialiasing
    support /= stretch
    centre = (np.arange(out_length) + 0.5) / scale - 0.5
    left = np.floor(centre - support / 2)
    index = left[:, None] + np.arange(math.ceil(support) + 2)
    weights = stretch * function(stretch * (centre[:, None] - index))
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.any(weights != 0, axis=0)
    mirrored = np.mod(index[:, used].astype(np.intp), 2 * length)
    mirrored = np.where(mirrored < length, mirrored, 2 * length - 1 - mirrored)
    return weights[:, used], mirrored


def _along(
    image: NDArray[np.float64], axis: int, weights: NDArray[np.float64], index: NDArray[np.intp]
) -> NDArray[np.float64]:
    shape = [1] * image.ndim
    shape[axis] = -1
    total = np.zeros([len(index) if a == axis else n for a, n in enumerate(image.shape)])
    for tap in range(index.shape[1]):
        total += weights[:, tap].reshape(shape) * np.take(image, index[:, tap], axis=axis)
    return total


def resize(
    image: Array,
    *,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    kernel: str = "bicubic",
) -> Array:
    """Resize a picture as MATLAB's ``imresize`` does, with antialiasing.

    ``image`` is (h, w) or (h, w, c): uint8 or uint16 (rounded and clipped after each pass, as
    MATLAB does) or floating point (neither rounded nor clipped). Give ``scale`` (the output has
    ``ceil(scale * size)`` pixels a side) or ``size`` as (height, width). Returns the dtype it got.
    Raises ``ImageError`` for another dtype, an empty picture or an unknown kernel.
    """
    if kernel not in ALL_KERNELS:
        raise ImageError(f"kernel {kernel!r} is unknown; use one of {', '.join(ALL_KERNELS)}")
    if (scale is None) == (size is None):
        raise ImageError("resize needs either scale or size; pass exactly one of them")
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ImageError(f"expected a picture of shape (h, w) or (h, w, c), got {image.shape}")
    integer = image.dtype in (np.uint8, np.uint16)
    if not integer and not np.issubdtype(image.dtype, np.floating):
        raise ImageError(f"expected uint8, uint16 or float pixels, got {image.dtype}")
    height, width = image.shape[:2]
    if scale is not None:
        targets = [(math.ceil(height * scale), scale), (math.ceil(width * scale), scale)]
    else:
        assert size is not None
        targets = [(size[0], size[0] / height), (size[1], size[1] / width)]
    # MATLAB starts with the axis that shrinks most, rows first when both are equal.
    order = sorted((0, 1), key=lambda axis: targets[axis][1])
    result = image.astype(np.float64)
    for axis in order:
        length, factor = targets[axis]
        result = _along(result, axis, *_contributions(result.shape[axis], length, factor, kernel))
        if integer:
            result = np.clip(np.floor(result + 0.5), 0, np.iinfo(image.dtype).max)
    return result.astype(image.dtype)

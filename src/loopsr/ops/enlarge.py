"""Bicubic by a whole factor, quickly: what ``ops.resize`` gives of floats, in float32.

Every output pixel between the same two input pixels has the same four weights, so a whole plane
is a few sums of itself, moved.

Bicubic is soft. A picture that is ``sharpened`` before comes closer to the one that was reduced: a
prefilter, as spline interpolation has (Unser, "Splines: a perfect fit for signal and image
processing", 1999), but fitted to pictures (``loopsr.export.calibrate``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from loopsr.ops.resize import cubic

REACH = 2  # input pixels that an output pixel sees on each side
Array = NDArray[np.float32]

# The pixels around one in a square of 5x5, those that a flip or a turn exchanges as one class.
CLASSES = ((0, 1), (1, 1), (0, 2), (1, 2), (2, 2))
SHARPEN_REACH = 2  # how far they are
_SIGNS = (-1, 1)
_BAND = 32  # rows at a time, which stay in the cache


def sharpened(image: Array, weights: Sequence[float]) -> Array:
    """(..., h, w) float32 with each pixel moved away from those around it, by a weight a class.

    What is flat stays; negative weights sharpen, and without any the image itself is returned.
    Borders are mirrored.
    """
    if not weights:
        return image
    result = image.copy()
    for weight, difference in zip(weights, differences(image), strict=True):
        result += np.float32(weight) * difference
    return result


def differences(image: Array) -> Iterator[Array]:
    """For each of ``CLASSES``: the sum of its pixels around each pixel, less as often that one."""
    height, width = image.shape[-2:]
    reach = SHARPEN_REACH
    padded = np.pad(image, [(0, 0)] * (image.ndim - 2) + [(reach, reach)] * 2, mode="symmetric")
    for one in CLASSES:
        turned = [(i * a, j * b) for a, b in (one, one[::-1]) for i in _SIGNS for j in _SIGNS]
        places = sorted(set(turned))
        total = np.float32(-len(places)) * image
        for down, right in places:
            y, x = reach + down, reach + right
            total += padded[..., y : y + height, x : x + width]
        yield total


def enlarge(image: Array, scale: int) -> Array:
    """(..., h, w) float32 to (..., scale h, scale w), neither rounded nor cut; borders mirrored."""
    # Columns first: what is written with gaps is then a ``scale``-th of the whole.
    return _lengthened(_lengthened(image, scale, image.ndim - 1), scale, image.ndim - 2)


def _lengthened(image: Array, scale: int, axis: int) -> Array:
    """``scale`` times as long along an axis."""
    count = image.shape[axis]
    shape = [side * scale if at == axis else side for at, side in enumerate(image.shape)]
    border = [(REACH, REACH) if at == axis else (0, 0) for at in range(image.ndim)]
    result = np.empty(shape, np.float32)
    target = np.moveaxis(result, axis, 0)
    padded = np.moveaxis(np.pad(image, border, mode="symmetric"), axis, 0)
    phases = [_taps(phase, scale) for phase in range(scale)]
    for start in range(0, count, _BAND):
        end = min(count, start + _BAND)
        for phase, ((tap, weight), *others) in enumerate(phases):
            total = weight * padded[tap + start : tap + end]
            for tap, weight in others:
                total += weight * padded[tap + start : tap + end]
            target[scale * start + phase : scale * end : scale] = total
    return result


def _taps(phase: int, scale: int) -> list[tuple[int, np.float32]]:
    """What the output pixels of a phase are made of: places of input pixels, counted from ``REACH``
    before their own, and weights."""
    place = (phase + 0.5) / scale - 0.5  # of the output pixel, from the input pixel
    taps = range(-2, 2) if place < 0 else range(-1, 3)
    weights = cubic(place - np.array(taps)).astype(np.float32)
    return [(REACH + tap, weight) for tap, weight in zip(taps, weights, strict=True) if weight]

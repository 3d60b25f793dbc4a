"""Blur by a Gaussian, round or longish, as lenses, focus and motion leave it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.errors import ImageError

Array = NDArray[Any]
_REACH = 3.5  # standard deviations; beyond lies less than a thousandth of the weight


def gaussian_kernel(sigma: float, *, ratio: float = 1.0, angle: float = 0.0) -> NDArray[np.float64]:
    """A Gaussian as an odd square of weights whose sum is 1.

    ``sigma`` is the standard deviation along the longer axis, in pixels; the other axis has
    ``ratio`` times as much. ``angle`` turns the longer axis from the rows' direction, in radians.
    Raises ``ImageError`` for a sigma or ratio that is not above 0.
    """
    if not (0 < sigma < math.inf and 0 < ratio <= 1):
        raise ImageError(
            f"sigma is {sigma} and ratio {ratio}; expected sigma above 0 and ratio in 0 to 1"
        )
    radius = max(1, math.ceil(_REACH * sigma))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float64)
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    # Tiny ratios would make the sum of samples depend on where the axis passes between pixels.
    short = max(sigma * ratio, 0.05)
    weights: NDArray[np.float64] = np.exp(-0.5 * ((along / sigma) ** 2 + (across / short) ** 2))
    weights /= weights.sum()
    return weights


def blur(image: Array, kernel: NDArray[np.float64]) -> Array:
    """Convolve each channel of an (h, w, c) picture with a kernel; borders are mirrored.

    ``image`` is uint8 (rounded and clipped) or floating point. Returns the dtype it got. Raises
    ``ImageError`` for another dtype, shape or a kernel without a centre.
    """
    if image.ndim != 3 or 0 in image.shape:
        raise ImageError(f"expected a picture of shape (h, w, c), got {image.shape}")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise ImageError(f"expected uint8 or float pixels, got {image.dtype}")
    if kernel.ndim != 2 or not all(side % 2 for side in kernel.shape):
        raise ImageError(f"expected a kernel with two odd sides, got {kernel.shape}")
    reach = [side // 2 for side in kernel.shape]
    pad = [(reach[0], reach[0]), (reach[1], reach[1]), (0, 0)]
    padded = np.pad(image.astype(np.float64), pad, mode="symmetric")
    shape = [_easy_length(side) for side in padded.shape[:2]]
    # The wrap-around of the Fourier transform stays within the padding, which is cut off.
    spectrum = np.fft.rfft2(padded, shape, axes=(0, 1))
    spectrum *= np.fft.rfft2(kernel, shape)[..., None]
    whole = np.fft.irfft2(spectrum, shape, axes=(0, 1))
    result = whole[2 * reach[0] :, 2 * reach[1] :][: image.shape[0], : image.shape[1]]
    if image.dtype == np.uint8:
        result = np.clip(np.floor(result + 0.5), 0, 255)
    return result.astype(image.dtype)


def _easy_length(length: int) -> int:
    """The next length without prime factors above 5, for which the transform is quick."""
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1

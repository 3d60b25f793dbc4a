"""Structural similarity (Wang et al. 2004), with the settings of the authors' MATLAB code.

Gaussian window 11x11 with sigma 1.5, K1 = 0.01, K2 = 0.03, peak 255, no downsampling, mean over the
places where the whole window fits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loopsr.errors import UsageError
from loopsr.metrics.psnr import check_pair, cut, luma, rounded_luma

Pixels = NDArray[np.generic]
Plane = NDArray[np.float64]
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def _blur(plane: Plane) -> Plane:
    """Gaussian mean at each place where the window fits: (h, w) to (h - 10, w - 10)."""
    distance = np.arange(_WINDOW) - _WINDOW // 2
    kernel = np.exp(-(distance**2) / (2 * _SIGMA**2))
    kernel /= kernel.sum()
    height, width = (side - _WINDOW + 1 for side in plane.shape)
    rows = sum(weight * plane[i : i + height] for i, weight in enumerate(kernel))
    result: Plane = sum(weight * rows[:, i : i + width] for i, weight in enumerate(kernel))
    return result


def _ssim(a: Plane, b: Plane) -> float:
    if min(a.shape) < _WINDOW:
        raise UsageError(
            f"SSIM needs {_WINDOW}x{_WINDOW} pixels after the border, got "
            f"{a.shape[1]}x{a.shape[0]}; pass a larger picture"
        )
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a = _blur(a * a) - mean_a**2
    variance_b = _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    light = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    return float(np.mean(light * structure))


def ssim_y(image: Pixels, reference: Pixels, *, border: int) -> float:
    """SSIM on MATLAB's luma in whole levels of 16..235, ``border`` pixels cut on each side.

    This is the number in papers that measure with MATLAB, with ``border`` equal to the scale and
    peak 255. Pictures are (h, w, 3) of 0..255. Raises ``UsageError``.
    """
    check_pair(image, reference, border)
    return _ssim(cut(rounded_luma(image), border), cut(rounded_luma(reference), border))


def ssim_y_unrounded(image: Pixels, reference: Pixels, *, border: int) -> float:
    """``ssim_y`` on luma that is not rounded, as newer Python code measures: 0.001 higher."""
    check_pair(image, reference, border)
    return _ssim(cut(luma(image), border), cut(luma(reference), border))


def ssim_rgb(image: Pixels, reference: Pixels, *, border: int) -> float:
    """Mean SSIM of the three channels of 0..255, ``border`` pixels cut on each side."""
    check_pair(image, reference, border)
    a, b = (cut(picture.astype(np.float64), border) for picture in (image, reference))
    return float(np.mean([_ssim(a[..., c], b[..., c]) for c in range(3)]))

"""Noise as cameras make it: equal everywhere, or growing with the light."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.errors import ImageError

Pixels = NDArray[np.uint8]


def gaussian_noise(
    image: Pixels, *, sigma: float, rng: np.random.Generator, grey: bool = False
) -> Pixels:
    """Add normal noise of ``sigma`` levels to an (h, w, c) uint8 picture.

    With ``grey`` all channels of a pixel get the same. Raises ``ImageError``.
    """
    _check(image)
    if not sigma >= 0:
        raise ImageError(f"sigma is {sigma} levels, expected at least 0")
    shape = (*image.shape[:2], 1 if grey else image.shape[2])
    return _rounded(image.astype(np.float64) + sigma * rng.standard_normal(shape))


def shot_noise(image: Pixels, *, peak: float, rng: np.random.Generator) -> Pixels:
    """Count photons: each sample of an (h, w, c) uint8 picture is drawn from Poisson's law.

    ``peak`` is the mean count of white (255), so that white gets 255 / sqrt(peak) levels of noise
    and black none. Raises ``ImageError``.
    """
    _check(image)
    if not peak > 0:
        raise ImageError(f"peak is {peak} photons, expected more than 0")
    photons = rng.poisson(image.astype(np.float64) * (peak / 255))
    return _rounded(photons.astype(np.float64) * (255 / peak))


def _check(image: NDArray[Any]) -> None:
    if image.ndim != 3 or image.dtype != np.uint8:
        raise ImageError(
            f"expected a uint8 picture of shape (h, w, c), got {image.dtype} {image.shape}"
        )


def _rounded(values: NDArray[np.float64]) -> Pixels:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)

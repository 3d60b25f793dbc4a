"""JPEG there and back: what an independent reader of the same settings gets."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from loopsr.errors import ImageError
from loopsr.io.jpeg import recompress


def scene(height: int = 48, width: int = 65) -> NDArray[np.uint8]:
    """Smooth colours with a red edge, where halved colour shows."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([x * 3 % 256, y * 4 % 256, (x + y) % 256], -1).astype(np.uint8)
    image[10:20, 21:40] = (250, 20, 20)
    return image


@pytest.mark.parametrize("quality", [30, 70, 95])
@pytest.mark.parametrize("subsample", [True, False])
def test_it_is_what_another_libjpeg_makes(quality: int, subsample: bool) -> None:
    buffer = io.BytesIO()
    Image.fromarray(scene()).save(
        buffer, "JPEG", quality=quality, subsampling="4:2:0" if subsample else "4:4:4"
    )
    expected = np.asarray(Image.open(buffer).convert("RGB"), np.int16)
    got = recompress(scene(), quality=quality, subsample=subsample)
    assert (got.dtype, got.shape) == (np.uint8, scene().shape)
    assert np.abs(got - expected).max() <= 1
    # The control: other settings are another picture.
    other = recompress(scene(), quality=quality, subsample=not subsample)
    assert np.abs(other - expected).max() > 5


def test_more_quality_is_less_error_and_one_pixel_will_do() -> None:
    error = [np.abs(recompress(scene(), quality=q) - scene().astype(int)).mean() for q in (20, 80)]
    assert error[0] > 1.5 * error[1]
    assert recompress(scene(1, 1), quality=70).shape == (1, 1, 3)
    assert np.array_equal(recompress(scene(), quality=60), recompress(scene(), quality=60))


def test_what_is_refused() -> None:
    with pytest.raises(ImageError, match="quality is 0, expected 1 to 100"):
        recompress(scene(), quality=0)
    with pytest.raises(ImageError, match=r"shape \(h, w, 3\), got uint8 \(48, 65\)"):
        recompress(scene()[..., 0], quality=70)
    with pytest.raises(ImageError, match="got float64"):
        recompress(scene().astype(float), quality=70)
    with pytest.raises(ImageError, match="JPEG failed"):
        recompress(np.zeros((1, 70_000, 3), np.uint8), quality=70)

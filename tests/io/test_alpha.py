"""Colour under transparency, and alpha that never varies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loopsr import io as pictures
from loopsr.io.alpha import REACH, bleed_rows, constant_alpha


def bled(pixels: Any, band: int = 64, given: int = 64) -> Any:
    pieces = (pixels[top : top + given] for top in range(0, pixels.shape[0], given))
    return np.concatenate(list(bleed_rows(pieces, band=band)))


def cut_out(height: int = 300, width: int = 260, dtype: Any = np.uint8) -> Any:
    top = np.iinfo(dtype).max
    pixels = np.zeros((height, width, 4), dtype)
    y, x = np.mgrid[0:height, 0:width]
    disc = (y - height / 2) ** 2 + (x - width / 2) ** 2 < 60**2
    pixels[disc] = (top, top // 2, top // 4, top)
    return pixels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colour_is_bled_far_enough(dtype: Any) -> None:
    pixels = cut_out(dtype=dtype)
    result = bled(pixels)
    hidden = pixels[..., 3] == 0
    y, x = np.mgrid[0:300, 0:260]
    near = hidden & ((y - 150) ** 2 + (x - 130) ** 2 < (60 + REACH) ** 2)
    assert near.any()
    assert (np.abs(result[near][:, :3].astype(int) - pixels[150, 130, :3]) <= 1).all()
    assert np.array_equal(result[..., 3], pixels[..., 3])
    assert np.array_equal(result[~hidden], pixels[~hidden])
    assert REACH >= 24
    # The control: without bleeding these pixels are black.
    assert not pixels[near][:, :3].any()


@pytest.mark.parametrize("band", [1, 13, 64, 1000])
def test_bands_do_not_matter(band: int) -> None:
    pixels = cut_out()
    pixels[150:, :, :3] //= 3
    assert np.array_equal(bled(pixels, band=band, given=band), bled(pixels))


def test_the_nearest_colour_wins() -> None:
    pixels = np.zeros((64, 128, 4), np.uint8)
    pixels[:, :32] = (200, 0, 0, 255)
    pixels[:, 96:] = (0, 0, 200, 255)
    result = bled(pixels)
    assert result[30, 33, 0] > 190
    assert result[30, 94, 2] > 190


def test_alpha_of_one_side_only_and_tiny_pictures() -> None:
    for shape in ((1, 1, 2), (1, 5, 4), (5, 1, 4), (65, 3, 2)):
        pixels = np.zeros(shape, np.uint8)
        assert np.array_equal(bled(pixels), pixels)
        pixels[0, 0] = 255
        assert (bled(pixels)[0:8, 0:8, 0] == 255).all()


def test_constant_alpha_is_found() -> None:
    band = np.full((4, 5, 4), 51, np.uint8)
    assert constant_alpha([band, band]) == pytest.approx(0.2)
    other = band.copy()
    other[3, 4, 3] = 52
    assert constant_alpha([band, other]) is None
    assert constant_alpha([np.full((2, 2, 2), 65535, np.uint16)]) == 1.0


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_constant_alpha_costs_no_channel_and_is_kept(make: Any, alpha: int) -> None:
    pixels = make.scene(channels=4)
    pixels[..., 3] = alpha
    picture = pictures.open_picture(make.wrote(pixels, "png"))
    assert not picture.traits.alpha
    assert picture.traits.constant_alpha == pytest.approx(alpha / 255)
    assert picture.pixels().shape == (40, 60, 3)
    import io

    from PIL import Image

    again = Image.open(io.BytesIO(make.passed(picture, "png")))
    assert again.mode == "RGBA"
    assert np.array_equal(np.asarray(again), pixels)

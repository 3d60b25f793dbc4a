"""MATLAB's colour conversion, by the corners of its own table."""

from __future__ import annotations

import numpy as np

from loopsr.ops.ycbcr import from_ycbcr, to_ycbcr


def test_corners_are_matlabs() -> None:
    rgb = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]])
    # rgb2ycbcr(uint8(...)) of black, white, red, green, blue
    expected = [[16, 128, 128], [235, 128, 128], [81, 90, 240], [145, 54, 34], [41, 240, 110]]
    assert np.floor(to_ycbcr(rgb)[0] + 0.5).tolist() == expected


def test_there_and_back() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert np.abs(from_ycbcr(to_ycbcr(rgb)) - rgb).max() < 1e-9

"""Blur and noise: their laws, dtypes, shapes, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from loopsr.errors import ImageError
from loopsr.ops.blur import _easy_length, blur, gaussian_kernel
from loopsr.ops.noise import gaussian_noise, shot_noise


def picture(height: int = 23, width: int = 34, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def moments(kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """The covariance (yy, yx; xy, xx) of a kernel's weights."""
    reach = len(kernel) // 2
    grid = np.stack(np.mgrid[-reach : reach + 1, -reach : reach + 1]).reshape(2, -1)
    return (grid * kernel.ravel()) @ grid.T


@pytest.mark.parametrize("sigma", [0.8, 1.0, 2.5])
def test_a_round_kernel_has_its_sigma(sigma: float) -> None:
    kernel = gaussian_kernel(sigma)
    assert kernel.sum() == pytest.approx(1)
    assert kernel.shape[0] % 2 == kernel.shape[1] % 2 == 1
    assert moments(kernel) == pytest.approx(sigma**2 * np.eye(2), rel=0.03, abs=1e-9)


def test_a_longish_kernel_is_turned() -> None:
    along_rows = moments(gaussian_kernel(3.0, ratio=0.5))
    assert along_rows == pytest.approx(np.diag([2.25, 9.0]), rel=0.03, abs=1e-9)
    down = moments(gaussian_kernel(3.0, ratio=0.5, angle=math.pi / 2))
    assert down == pytest.approx(np.diag([9.0, 2.25]), rel=0.03, abs=1e-9)
    slanted = moments(gaussian_kernel(3.0, ratio=0.5, angle=math.pi / 4))
    assert slanted[0, 1] == pytest.approx((9 - 2.25) / 2, rel=0.03)


@pytest.mark.parametrize("size", [(23, 34), (5, 4), (1, 1)])
def test_blur_is_the_convolution_with_mirrored_borders(size: tuple[int, int]) -> None:
    image = picture(*size)
    kernel = np.random.default_rng(1).random((5, 7))
    kernel /= kernel.sum()
    padded = np.pad(image.astype(float), [(2, 2), (3, 3), (0, 0)], mode="symmetric")
    expected = np.zeros(image.shape)
    for y in range(5):
        for x in range(7):
            part = padded[y : y + size[0], x : x + size[1]]
            expected += kernel[4 - y, 6 - x] * part
    assert blur(image.astype(np.float64), kernel) == pytest.approx(expected, abs=1e-9)
    assert np.abs(blur(image, kernel) - expected).max() <= 0.5 + 1e-9
    # The control: a kernel that is not turned by a half is correlation, and noticed.
    assert blur(image.astype(np.float64), kernel[::-1, ::-1]) != pytest.approx(
        expected, abs=1e-9
    ) or size == (1, 1)


def test_blur_keeps_type_shape_and_flat_pictures() -> None:
    flat = np.full((9, 8, 3), 77, np.uint8)
    assert np.array_equal(blur(flat, gaussian_kernel(1.3)), flat)
    for dtype in (np.uint8, np.float32, np.float64):
        image = picture().astype(dtype)
        result = blur(image, gaussian_kernel(0.8, ratio=0.4, angle=1))
        assert (result.dtype, result.shape) == (image.dtype, image.shape)
    assert blur(picture(), gaussian_kernel(2)).std() < picture().std() / 3


def test_lengths_of_the_transform() -> None:
    assert [_easy_length(n) for n in (1, 7, 11, 121, 1031)] == [1, 8, 12, 125, 1080]


def test_gaussian_noise() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    noise = gaussian_noise(grey, sigma=6, rng=np.random.default_rng(0)).astype(float) - 128
    assert noise.std() == pytest.approx(6, rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=0.05)
    assert np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1] < 0.05
    same = gaussian_noise(grey, sigma=6, rng=np.random.default_rng(0), grey=True)
    assert np.array_equal(same[..., 0], same[..., 2])
    assert np.array_equal(gaussian_noise(grey, sigma=0, rng=np.random.default_rng(0)), grey)


@pytest.mark.parametrize("level", [40, 200])
def test_shot_noise_grows_with_the_root_of_the_light(level: int) -> None:
    flat = np.full((200, 200, 3), level, np.uint8)
    noisy = shot_noise(flat, peak=400, rng=np.random.default_rng(0)).astype(float)
    assert noisy.mean() == pytest.approx(level, rel=0.01)
    assert noisy.std() == pytest.approx(math.sqrt(level / 255) * 255 / 20, rel=0.03)


def test_black_has_no_shot_noise_and_white_is_clipped() -> None:
    rng = np.random.default_rng(0)
    assert not shot_noise(np.zeros((4, 4, 3), np.uint8), peak=5, rng=rng).any()
    white = shot_noise(np.full((50, 50, 3), 255, np.uint8), peak=5, rng=rng)
    assert (white == 255).mean() > 0.4


def test_noise_is_the_same_for_the_same_seed_only() -> None:
    for noise in (
        lambda seed: gaussian_noise(picture(), sigma=4, rng=np.random.default_rng(seed)),
        lambda seed: shot_noise(picture(), peak=99, rng=np.random.default_rng(seed)),
    ):
        assert np.array_equal(noise(1), noise(1))
        assert not np.array_equal(noise(1), noise(2))
        assert (noise(1).dtype, noise(1).shape) == (np.uint8, picture().shape)


def test_what_is_refused() -> None:
    rng = np.random.default_rng(0)
    for sigma, ratio in ((0, 1), (-1, 1), (1, 0), (1, 1.5), (math.nan, 1)):
        with pytest.raises(ImageError, match="expected sigma above 0 and ratio in 0 to 1"):
            gaussian_kernel(sigma, ratio=ratio)
    with pytest.raises(ImageError, match=r"two odd sides, got \(4, 5\)"):
        blur(picture(), np.ones((4, 5)))
    with pytest.raises(ImageError, match="expected uint8 or float pixels, got int32"):
        blur(picture().astype(np.int32), np.ones((3, 3)))
    with pytest.raises(ImageError, match="shape"):
        blur(picture()[..., 0], np.ones((3, 3)))
    with pytest.raises(ImageError, match="expected a uint8 picture"):
        gaussian_noise(picture().astype(float), sigma=1, rng=rng)
    with pytest.raises(ImageError, match="sigma is -1 levels"):
        gaussian_noise(picture(), sigma=-1, rng=rng)
    with pytest.raises(ImageError, match="peak is 0 photons"):
        shot_noise(picture(), peak=0, rng=rng)

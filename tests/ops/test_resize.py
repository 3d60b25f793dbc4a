"""The resize against MATLAB's own files, facts known by hand, and planted faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loopsr.errors import ImageError
from loopsr.ops.enlarge import CLASSES, differences, enlarge, sharpened
from loopsr.ops.resize import resize

BENCH = Path(__file__).parents[3] / "shared" / "data" / "bench"


def oracle_pairs() -> list[tuple[Path, Path, int]]:
    pairs = []
    for name in ("Set5", "Set14"):
        for high in sorted((BENCH / name / "HR").glob("*")):
            for scale in (2, 3, 4):
                low = sorted((BENCH / name / "LR_bicubic" / f"X{scale}").glob(f"{high.stem}*"))
                pairs += [(high, low[0], scale)] if low else []
    return pairs


def load(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


@pytest.mark.skipif(not BENCH.is_dir(), reason="the benchmark pictures are not on this machine")
def test_equals_matlab_on_the_benchmark_sets() -> None:
    pairs = oracle_pairs()
    assert len(pairs) == 57
    for high, low, scale in pairs:
        image = load(high)
        height, width = (n // scale * scale for n in image.shape[:2])
        made = resize(image[:height, :width], scale=1 / scale)
        assert np.array_equal(made, load(low)), (high.name, scale)


@pytest.mark.skipif(not BENCH.is_dir(), reason="the benchmark pictures are not on this machine")
def test_rounding_only_once_is_caught() -> None:
    high, low, scale = oracle_pairs()[0]
    once = resize(load(high).astype(np.float64), scale=1 / scale)
    wrong = np.clip(np.floor(once + 0.5), 0, 255) != load(low)
    assert 0.05 < wrong.mean() < 0.2


@pytest.mark.parametrize("kernel", ["bicubic", "lanczos"])
@pytest.mark.parametrize("scale", [0.25, 1 / 3, 0.5, 1.5, 2, 3, 4])
def test_flat_stays_flat(kernel: str, scale: float) -> None:
    flat = np.full((7, 9, 3), (255, 0, 17), np.uint8)
    out = resize(flat, scale=scale, kernel=kernel)
    assert out.shape == (*(int(np.ceil(n * scale)) for n in (7, 9)), 3)
    assert (out == (255, 0, 17)).all()


def test_half_scale_of_a_step_by_hand() -> None:
    # Antialiased bicubic at 1/2 has the weights (-3, -9, 29, 111, 111, 29, -9, -3) / 256.
    row = np.zeros((1, 16))
    row[0, 8] = 256
    out = resize(row, size=(1, 8))
    assert out[0, 2:7] == pytest.approx([-3, 29, 111, -9, 0], abs=1e-9)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_dtype_and_planes_are_kept(dtype: type) -> None:
    image = np.arange(35).reshape(5, 7).astype(dtype)
    assert resize(image, scale=2).dtype == dtype
    assert resize(image[..., None], scale=2).shape == (10, 14, 1)


def test_one_pixel_and_target_size() -> None:
    assert (resize(np.full((1, 1, 3), 9, np.uint8), size=(3, 5)) == 9).all()


@pytest.mark.parametrize(
    ("image", "options", "says"),
    [
        (np.zeros((4, 4), np.int32), {"scale": 2}, "int32"),
        (np.zeros((0, 4), np.uint8), {"scale": 2}, "shape"),
        (np.zeros(4, np.uint8), {"scale": 2}, "shape"),
        (np.zeros((4, 4), np.uint8), {}, "either scale or size"),
        (np.zeros((4, 4), np.uint8), {"scale": 2, "kernel": "cubic"}, "bicubic, lanczos"),
    ],
)
def test_errors_say_what_was_got(image: np.ndarray, options: dict, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        resize(image, **options)


def test_cheap_kernels_are_what_their_names_say() -> None:
    image = np.random.default_rng(0).random((8, 12, 3))
    means = image.reshape(4, 2, 6, 2, 3).mean(axis=(1, 3))
    assert resize(image, scale=0.5, kernel="box") == pytest.approx(means)
    assert np.array_equal(resize(image, scale=3, kernel="box"), image.repeat(3, 0).repeat(3, 1))
    row = np.array([[0.0, 8.0]])
    assert resize(row, size=(1, 4), kernel="bilinear") == pytest.approx(np.array([[0, 2, 6, 8]]))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (11, 7)])
def test_the_quick_one_gives_the_same(scale: int, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((*size, 3))
    expected = resize(image, scale=scale).transpose(2, 0, 1)
    planes = image.astype(np.float32).transpose(2, 0, 1)
    assert np.abs(enlarge(planes, scale) - expected).max() < 1e-6
    if size != (1, 1):
        moved = np.abs(enlarge(planes, scale)[:, 1:] - expected[:, :-1]).max()
        assert moved > 1e-2


def test_sharpened_is_a_symmetric_kernel_that_keeps_what_is_flat() -> None:
    weights = (-0.3, 0.05, 0.1, -0.02, 0.01)
    kernel = np.zeros((5, 5))
    for weight, (a, b) in zip(weights, CLASSES, strict=True):
        for i in (-1, 1):
            for j in (-1, 1):
                kernel[2 + i * a, 2 + j * b] = kernel[2 + i * b, 2 + j * a] = weight
    kernel[2, 2] = 1 - kernel.sum()
    image = np.random.default_rng(0).random((2, 9, 7)).astype(np.float32)
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2))
    expected = (windows * kernel).sum(axis=(-1, -2))
    assert np.abs(sharpened(image, weights) - expected).max() < 1e-6
    assert np.abs(expected - image).max() > 0.1
    assert sharpened(image, ()) is image
    flat = np.full((3, 4, 4), 0.7, np.float32)
    assert sharpened(flat, weights) == pytest.approx(flat)
    assert len(list(differences(image))) == len(CLASSES)
    with pytest.raises(ValueError, match="longer"):
        sharpened(image, (-0.3, 0.05))

"""PSNR and SSIM against outside oracles: scikit-image, and the published values of bicubic."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from loopsr.data.sets import pictures_of
from loopsr.data.sources import crop_to_multiple, read_rgb
from loopsr.engine.opener import open_model
from loopsr.errors import UsageError
from loopsr.metrics import psnr, ssim
from loopsr.metrics.psnr import luma, psnr_rgb, psnr_y, psnr_y_rounded
from loopsr.metrics.ssim import ssim_rgb, ssim_y, ssim_y_unrounded
from loopsr.ops.resize import resize
from loopsr.train.evaluate import METRICS, mean_score, score_folder

BENCH = Path(__file__).parents[2].parent / "shared" / "data" / "bench"
needs_bench = pytest.mark.skipif(not BENCH.is_dir(), reason="the benchmark sets are not here")


@pytest.fixture
def pair() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:40, 0:50]
    clean = 127 + 100 * np.sin(x / 4 + y / 7)[..., None] * np.array([1, 0.6, 0.3])
    noisy = clean + rng.normal(0, 12, clean.shape)
    return noisy.clip(0, 255).astype(np.uint8), clean.clip(0, 255).astype(np.uint8)


def test_luma_is_matlabs() -> None:
    # black, white, red, green, blue by the table of MATLAB's rgb2ycbcr
    corners = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]])
    expected = [16, 235, 81.481, 144.553, 40.966]
    assert luma(corners[None])[0].tolist() == pytest.approx(expected, abs=1e-9)


def test_psnr_agrees_with_scikit_image(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    noisy, clean = pair
    inner = (slice(3, -3), slice(3, -3))
    expected = peak_signal_noise_ratio(clean[inner], noisy[inner], data_range=255)
    assert psnr_rgb(noisy, clean, border=3) == pytest.approx(expected, abs=1e-9)
    planes = luma(clean)[inner], luma(noisy)[inner]
    expected = peak_signal_noise_ratio(*planes, data_range=255)
    assert psnr_y(noisy, clean, border=3) == pytest.approx(expected, abs=1e-9)
    whole = [np.round(plane).astype(np.uint8) for plane in planes]
    expected = peak_signal_noise_ratio(*whole, data_range=255)
    assert psnr_y_rounded(noisy, clean, border=3) == pytest.approx(expected, abs=1e-9)


def expected_ssim(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(a, b, data_range=255, **options))


def test_ssim_agrees_with_scikit_image(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    noisy, clean = pair
    a, b = (luma(picture)[2:-2, 2:-2] for picture in pair)
    assert ssim_y_unrounded(noisy, clean, border=2) == pytest.approx(expected_ssim(a, b), abs=1e-9)
    whole = [np.round(plane) for plane in (a, b)]
    assert ssim_y(noisy, clean, border=2) == pytest.approx(expected_ssim(*whole), abs=1e-9)
    channels = [
        expected_ssim(noisy[..., c].astype(float), clean[..., c].astype(float)) for c in range(3)
    ]
    assert ssim_rgb(noisy, clean, border=0) == pytest.approx(np.mean(channels), abs=1e-9)


def test_control_another_window_is_noticed(
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssim, "_SIGMA", 1.6)
    a, b = (luma(picture) for picture in pair)
    assert ssim_y_unrounded(*pair, border=0) != pytest.approx(expected_ssim(a, b), abs=1e-4)


@pytest.mark.parametrize("metric", METRICS.values())
def test_metrics_refuse_what_does_not_fit(metric: Callable[..., float]) -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(UsageError, match="of one size"):
        metric(image, image[:-1], border=2)
    with pytest.raises(UsageError, match="nothing is left"):
        metric(image, image, border=10)
    with pytest.raises(UsageError, match="of one size"):
        metric(image[..., 0], image[..., 0], border=2)


def test_equal_pictures() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    assert psnr_y(image, image, border=2) == math.inf
    assert ssim_y(image, image, border=2) == pytest.approx(1, abs=1e-12)
    with pytest.raises(UsageError, match="11x11"):
        ssim_y(image, image, border=5)


@needs_bench
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["Set5", "Set14"])
def test_our_reduction_is_matlabs(name: str, scale: int) -> None:
    made = {p.name.split("x")[0]: p for p in (BENCH / name / f"LR_bicubic/X{scale}").iterdir()}
    for path in pictures_of(BENCH / name):
        expected = read_rgb(next(p for k, p in made.items() if p.stem.startswith(path.stem)))
        hr = crop_to_multiple(read_rgb(path), scale)
        assert np.array_equal(resize(hr, scale=1 / scale), expected), path.name


# Mean PSNR and SSIM of bicubic as papers print them (for example Kim et al. 2016, table 2).
PUBLISHED = {
    ("Set5", 2): (33.66, 0.9299),
    ("Set5", 3): (30.39, 0.8682),
    ("Set5", 4): (28.42, 0.8104),
    ("BSD100", 2): (29.56, 0.8431),
    ("BSD100", 3): (27.21, 0.7385),
    ("BSD100", 4): (25.96, 0.6675),
}


def published_bicubic(hr: NDArray[np.uint8], scale: int) -> tuple[float, float]:
    """Bicubic as those papers made it: on rounded luma alone, its reduction not rounded."""
    plane = np.floor(luma(hr) + 0.5)
    output = resize(resize(plane, scale=1 / scale), scale=scale)
    output = np.floor(output.clip(0, 255) + 0.5)
    a, b = psnr.cut(output, scale), psnr.cut(plane, scale)
    return psnr._psnr(a - b), ssim._ssim(a, b)


@needs_bench
@pytest.mark.parametrize(("name", "scale"), [k for k in PUBLISHED if k[0] == "Set5"])
def test_published_bicubic(name: str, scale: int) -> None:
    pictures = [crop_to_multiple(read_rgb(path), scale) for path in pictures_of(BENCH / name)]
    values = np.mean([published_bicubic(hr, scale) for hr in pictures], axis=0)
    assert values[0] == pytest.approx(PUBLISHED[name, scale][0], abs=0.005)
    assert values[1] == pytest.approx(PUBLISHED[name, scale][1], abs=0.0001)


# The same mean of bicubic on these copies of Set14, whose files differ from the published ones.
SET14 = {("Set14", 2): (30.32, None), ("Set14", 3): (27.63, None), ("Set14", 4): (26.09, None)}


@pytest.fixture(scope="module")
def bicubic() -> Callable[[str, int], dict[str, float]]:
    """The mean of bicubic as `loopsr eval` measures it, once a set and scale."""

    @functools.cache
    def mean(name: str, scale: int) -> dict[str, float]:
        model = open_model("bicubic", scale=scale)
        metrics = {key: metric for key, metric in METRICS.items() if "rgb" not in key}
        scores = list(score_folder(model, BENCH / name, scale=scale, metrics=metrics))
        return dict(mean_score(scores).values)

    return mean


@needs_bench
@pytest.mark.parametrize(("name", "scale"), [*PUBLISHED, *SET14])
def test_bicubic_as_a_model(
    name: str, scale: int, bicubic: Callable[[str, int], dict[str, float]]
) -> None:
    psnr_expected, ssim_expected = (PUBLISHED | SET14)[name, scale]
    values = bicubic(name, scale)
    limit = 0.02 if name == "Set5" else 0.01
    assert values["psnr_y"] == pytest.approx(psnr_expected, abs=limit)
    if name == "BSD100":
        assert values["ssim_y"] == pytest.approx(ssim_expected, abs=0.0005)
    # The other conventions are near, and on the other side of the published value.
    assert 0 < values["psnr_y"] - values["psnr_y_rounded"] < 0.04
    assert 0.0005 < values["ssim_y_unrounded"] - values["ssim_y"] < 0.0012


@needs_bench
def test_control_the_other_ssim_is_noticed(
    bicubic: Callable[[str, int], dict[str, float]],
) -> None:
    for scale in (3, 4):
        unrounded = bicubic("BSD100", scale)["ssim_y_unrounded"]
        assert unrounded != pytest.approx(PUBLISHED["BSD100", scale][1], abs=0.0005)


@needs_bench
def test_control_full_range_luma_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psnr, "LUMA_WEIGHTS", np.array([0.299, 0.587, 0.114]))
    hr = [crop_to_multiple(read_rgb(path), 4) for path in pictures_of(BENCH / "Set5")]
    scores = [psnr_y(resize(resize(x, scale=1 / 4), scale=4), x, border=4) for x in hr]
    assert np.mean(scores) < PUBLISHED["Set5", 4][0] - 1

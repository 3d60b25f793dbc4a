"""The library: every kind of picture comes back as it came, larger."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray
from PIL import Image

import loopsr
from loopsr import Cancelled, ImageError, UnknownNameError, Upscaler, UsageError, WeightsError
from loopsr.engine.plan import MAX_SCALE

Photo = Callable[[int, int], NDArray[np.float32]]


@pytest.fixture
def upscaler(weights: Path) -> Upscaler:
    return Upscaler(threads=1)


def as_dtype(pixels: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    if dtype.startswith("float"):
        return pixels.astype(dtype)
    return np.round(pixels * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("scale", [2, 1.5])
def test_arrays(
    upscaler: Upscaler, photo: Photo, dtype: str, channels: int | None, scale: float
) -> None:
    pixels = photo(12, 10)
    pixels = np.concatenate([pixels, pixels[..., :1]], axis=2)
    image = as_dtype(pixels[..., 0] if channels is None else pixels[..., :channels], dtype)
    before = image.copy()
    result = upscaler(image, scale=scale)
    assert result.dtype == image.dtype
    assert result.shape == (12 * scale, 10 * scale, *image.shape[2:])
    assert np.array_equal(image, before)


def test_a_view_with_strides(upscaler: Upscaler, photo: Photo) -> None:
    image = as_dtype(photo(24, 20), "uint8")[::2, ::-2]
    assert np.array_equal(upscaler(image, scale=2), upscaler(image.copy(), scale=2))


@pytest.mark.parametrize(
    ("mode", "back"),
    [
        ("L", "L"),
        ("LA", "LA"),
        ("RGB", "RGB"),
        ("RGBA", "RGBA"),
        ("P", "RGB"),
        ("1", "L"),
        ("CMYK", "RGB"),
        ("I;16", "I;16"),
    ],
)
def test_pil(upscaler: Upscaler, photo: Photo, mode: str, back: str) -> None:
    pixels = as_dtype(photo(12, 10), "uint8")
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode != "RGB":
        image = image.convert(mode)
    image.info["dpi"] = (300, 300)
    result = upscaler(image, scale=3)
    assert (result.mode, result.size) == (back, (30, 36))
    assert result.info["dpi"] == (300, 300)
    assert isinstance(result, Image.Image)


def test_pil_transparent_palette(upscaler: Upscaler) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((2, 2), 0)
    image.info["transparency"] = 0
    result = upscaler(image, scale=2)
    assert result.mode == "RGBA"
    assert "transparency" not in result.info


def test_pil_mode_of_unknown_range(upscaler: Upscaler) -> None:
    with pytest.raises(UsageError, match="mode F"):
        upscaler(Image.new("F", (4, 4)), scale=2)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_vips(upscaler: Upscaler, photo: Photo, dtype: str, bands: int) -> None:
    pixels = photo(12, 10)
    pixels = as_dtype(np.concatenate([pixels, pixels[..., :1]], axis=2)[..., :bands], dtype)
    image = pyvips.Image.new_from_array(pixels).copy(xres=11.8, yres=11.8)
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", b"a profile")
    result = upscaler(image, scale=2)
    assert isinstance(result, pyvips.Image)
    assert (result.width, result.height, result.bands) == (20, 24, bands)
    assert (result.format, result.interpretation) == (image.format, image.interpretation)
    assert result.xres == image.xres
    assert result.get("icc-profile-data") == b"a profile"
    expected = upscaler(pixels, scale=2).reshape(24, 20, bands)
    assert np.array_equal(result.numpy().reshape(24, 20, bands), expected)


@pytest.mark.parametrize("scale", [2, 3, 4, 1.7, 6])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("level", [0.0, 200 / 255, 1.0])
def test_flat_stays_flat(upscaler: Upscaler, scale: float, dtype: str, level: float) -> None:
    for channels in (1, 3):
        image = as_dtype(np.full((9, 7, channels), level, np.float32), dtype)
        result = upscaler(image, scale=scale)
        slack = 2 / 65535 if scale == 1.7 and dtype == "float32" else 0
        assert np.abs(result.astype(float) - image.flat[0]).max() <= slack


def test_grey_is_the_mean_of_its_colours(upscaler: Upscaler, photo: Photo) -> None:
    grey = photo(12, 10)[..., :1]
    colour = upscaler(grey.repeat(3, axis=2), scale=2)
    assert np.abs(upscaler(grey, scale=2)[..., 0] - colour.mean(axis=2)).max() < 1e-6


def test_alpha_is_upscaled_like_grey_and_weighs_nothing_in_colour(
    upscaler: Upscaler, photo: Photo
) -> None:
    colour, cover = photo(12, 10), photo(12, 10)[..., :1].clip(0.1, 1)
    result = upscaler(np.concatenate([colour, cover], axis=2), scale=2)
    assert np.array_equal(result[..., :3], upscaler(colour, scale=2))
    assert np.array_equal(result[..., 3:], upscaler(cover, scale=2))


@pytest.mark.parametrize("level", [0, 77, 255])
def test_constant_alpha_is_kept_and_costs_nothing(
    upscaler: Upscaler, photo: Photo, level: int
) -> None:
    image = np.dstack([as_dtype(photo(12, 10), "uint8"), np.full((12, 10), level, np.uint8)])
    done: list[float] = []
    result = upscaler(image, scale=2, progress=done.append)
    assert (result[..., 3] == level).all()
    assert np.array_equal(result[..., :3], upscaler(image[..., :3].copy(), scale=2))
    assert len(done) == 1


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_no_dark_fringe(upscaler: Upscaler, dtype: str) -> None:
    """White on transparent black: whatever is seen stays white."""
    image = np.zeros((20, 20, 4), np.float32)
    image[5:15, 5:15] = 1
    result = upscaler(as_dtype(image, dtype), scale=2)
    assert result.max() == as_dtype(np.ones(1, np.float32), dtype)[0]
    assert (result[..., :3] == result.max()).all()


@pytest.mark.parametrize("tile", [1, 7, 100])
def test_tile_does_not_change_the_result(weights: Path, photo: Photo, tile: int) -> None:
    image = photo(12, 10)
    whole = Upscaler("loop-x4", threads=1)(image)
    assert whole.std() > 0.01  # or nothing would be compared
    assert np.abs(Upscaler("loop-x4", threads=1, tile=tile)(image) - whole).max() <= 1e-5


def test_passes_are_chained(upscaler: Upscaler, photo: Photo) -> None:
    image = photo(6, 5)
    by_hand = upscaler(upscaler(image, scale=4), scale=2)
    assert np.abs(upscaler(image, scale=8) - by_hand).max() <= 1e-5


def test_sizes(upscaler: Upscaler, weights: Path, photo: Photo) -> None:
    image = photo(6, 12)
    assert upscaler(image).shape == (24, 48, 3)
    assert Upscaler("loop-x3", threads=1)(image).shape == (18, 36, 3)
    assert upscaler(image, width=31).shape == (16, 31, 3)
    assert upscaler(image, long_edge=100).shape == (50, 100, 3)
    with pytest.raises(UsageError):
        upscaler(image, width=12)
    with pytest.raises(UsageError):
        upscaler(image, scale=MAX_SCALE + 1)


def test_threads_share_an_upscaler(upscaler: Upscaler, photo: Photo) -> None:
    images = [photo(20 + i, 30) for i in range(4)]
    expected = [Upscaler(threads=1, tile=8)(image, scale=2) for image in images]
    shared = Upscaler(threads=1, tile=8)
    results: dict[int, NDArray[np.float32]] = {}

    def work(number: int) -> None:
        for _ in range(3):
            results[number] = shared(images[number], scale=2)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        assert np.array_equal(results[number], expected[number])


def test_progress_rises_to_one(weights: Path, photo: Photo) -> None:
    done: list[float] = []
    image = np.concatenate([photo(20, 10), photo(20, 10)[..., :1]], axis=2)
    Upscaler(tile=6, threads=1)(image, scale=6, progress=done.append)
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)
    assert len(done) > 10


def test_progress_can_cancel(weights: Path, photo: Photo) -> None:
    done: list[float] = []

    def stop(fraction: float) -> bool:
        done.append(fraction)
        return len(done) < 3

    upscaler = Upscaler(tile=5, threads=1)
    with pytest.raises(Cancelled):
        upscaler(photo(20, 10), scale=2, progress=stop)
    assert len(done) == 3
    assert upscaler(photo(20, 10), scale=2).shape == (40, 20, 3)


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        ("photo.jpg", UsageError, "upscale_file"),
        (np.zeros((4, 4, 5), np.uint8), UsageError, "channels last"),
        (np.zeros((2, 4, 4, 3), np.uint8), UsageError, "one picture at a time"),
        (np.zeros((0, 4, 3), np.uint8), UsageError, "shape"),
        (np.zeros((4, 4, 3), np.int32), UsageError, "uint8, uint16 or floats"),
        (np.zeros((4, 4), bool), UsageError, "uint8, uint16 or floats"),
        (np.full((4, 4, 3), 255.0), ImageError, "divide"),
        (np.full((4, 4, 3), np.nan), ImageError, "divide"),
    ],
)
def test_what_is_no_picture(upscaler: Upscaler, image: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        upscaler(image, scale=2)


def test_settings_are_checked_at_once(weights: Path) -> None:
    for wrong in ({"threads": 0}, {"tile": 0}, {"max_memory": -1}):
        with pytest.raises(UsageError, match="at least 1"):
            Upscaler(**wrong)
    with pytest.raises(UnknownNameError, match="did you mean loop-x4"):
        Upscaler("lop-x4")
    with pytest.raises(UnknownNameError, match="backend"):
        Upscaler(backend="tensorflow")
    with pytest.raises(WeightsError, match="no-such"):
        Upscaler("folder/no-such.onnx")


def test_models_by_path(weights: Path, photo: Photo) -> None:
    image = photo(8, 8)
    expected = Upscaler("loop-x2", threads=1)(image)
    for path in (weights / "loop-x2.onnx", str(weights / "loop-x2.onnx")):
        assert np.array_equal(Upscaler(path, threads=1)(image), expected)
    torch = Upscaler(weights / "loop-x2.safetensors", threads=1)(image)
    assert np.abs(torch - expected).max() < 1e-4
    with pytest.raises(UsageError, match="pass one, or the backend torch"):
        Upscaler(weights / "loop-x2.safetensors", backend="onnxruntime")


@pytest.mark.usefixtures("family")
def test_a_name_may_leave_its_scale_out(photo: Photo) -> None:
    """loop has x2 and x4 here, loop-s x2 alone; a name with its scale asks for that one."""
    used = {
        (name, scale): list(Upscaler(name).plan((9, 8), scale=scale).models)
        for name in ("loop", "loop-x2", "loop-s")
        for scale in (None, 2, 3, 4)
    }
    assert used["loop", None] == used["loop", 3] == used["loop", 4] == ["loop-x4"]
    assert used["loop", 2] == used["loop-x2", 2] == used["loop-x2", None] == ["loop-x2"]
    assert used["loop-s", 4] == used["loop-s", None] == ["loop-s-x2", "loop-s-x2"]
    image = photo(8, 9)
    same = Upscaler("loop", backend="onnxruntime")(image, scale=2)
    assert np.array_equal(same, Upscaler("loop-x2", backend="onnxruntime")(image, scale=2))
    for name in ("loop-y", "loop-x7", "loop.photo"):
        with pytest.raises(UnknownNameError, match="is unknown"):
            Upscaler(name)


def test_module_level_function(weights: Path, photo: Photo) -> None:
    image = as_dtype(photo(8, 8), "uint8")
    assert loopsr.upscale(image, 2, threads=1).shape == (16, 16, 3)
    assert loopsr.upscale(image, threads=1, model="loop-x3").shape == (24, 24, 3)

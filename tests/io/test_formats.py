"""Every format, depth and colour model, in and out; Pillow is the second opinion."""

from __future__ import annotations

import io
import logging
from typing import Any

import numpy as np
import pytest
from PIL import Image

from loopsr import io as pictures
from loopsr.errors import ImageReadError, ImageWriteError, UnknownNameError, UsageError

ALL = ("jpeg", "png", "webp", "tiff", "avif", "gif", "ppm")
EXACT = {"png": 16, "tiff": 16, "ppm": 16, "webp": 8, "avif": 8}  # format: bits that come back


def close(got: Any, wanted: Any, levels: float) -> bool:
    """Within so many levels of 255 on average, and five times that at the worst pixel."""
    difference = np.abs(got / np.iinfo(got.dtype).max - wanted / np.iinfo(wanted.dtype).max) * 255
    return bool(difference.mean() <= levels and difference.max() <= 5 * levels)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_round_trip(make: Any, kind: str, depth: int, channels: int) -> None:
    pixels = make.scene(channels=channels, dtype=np.uint8 if depth == 8 else np.uint16)
    lossless = pictures.Encoding(lossless=kind in ("webp", "avif"))
    back = pictures.open_picture(make.wrote(pixels, kind, encoding=lossless))
    got = back.pixels()
    assert back.source_format == kind
    assert (back.width, back.height) == (60, 40)
    if kind in ("jpeg", "ppm") and channels in (2, 4):
        top = np.iinfo(pixels.dtype).max
        alpha = pixels[..., -1:] / top
        laid = pixels[..., :-1] * alpha + top * (1 - alpha)
        pixels = np.rint(laid).astype(pixels.dtype)
    if got.shape[2] > pixels.shape[2]:  # WebP, AVIF and GIF know no grey
        assert kind in ("webp", "avif", "gif")
        assert (got[..., 0] == got[..., 1]).all()
        got = np.delete(got, (1, 2), axis=2)
    if kind == "gif":
        got, pixels = got[..., :1], pixels[..., :1]
        opaque = make.scene(channels=channels)[..., -1] > 140 if channels in (2, 4) else ...
        assert close(got[opaque], pixels[opaque], 16)
    elif kind in EXACT and EXACT[kind] >= depth:
        assert got.dtype == pixels.dtype
        assert np.abs(got.astype(int) - pixels.astype(int)).max() <= (kind == "ppm")
    else:
        assert close(got, pixels, 3 if kind == "jpeg" else 0.6)


def test_round_trip_check_has_teeth(make: Any) -> None:
    pixels = make.scene()
    assert not close(np.roll(pixels, 3, axis=1), pixels, 3)
    assert not close(pixels[..., ::-1], pixels, 16)


def test_sixteen_bits_are_sixteen(make: Any) -> None:
    pixels = make.scene(dtype=np.uint16)
    for kind in ("png", "tiff", "ppm"):
        back = pictures.open_picture(make.wrote(pixels, kind))
        assert back.traits.depth == back.traits.stored_depth == 16
        assert np.array_equal(back.pixels(), pixels)
    avif = pictures.open_picture(make.wrote(pixels, "avif"))
    assert avif.traits.depth == 16
    assert len(np.unique(avif.pixels())) > 256


@pytest.mark.parametrize("value", [0, 65535])
def test_avif_keeps_black_and_white(make: Any, value: int) -> None:
    flat = np.full((16, 16, 3), value, np.uint16)
    back = pictures.open_picture(
        make.wrote(flat, "avif", encoding=pictures.Encoding(lossless=True))
    )
    assert (back.pixels() == value).all()


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("1", "PNG"),
        ("L", "PNG"),
        ("LA", "PNG"),
        ("P", "PNG"),
        ("RGB", "PNG"),
        ("RGBA", "PNG"),
        ("I;16", "PNG"),
        ("1", "TIFF"),
        ("L", "TIFF"),
        ("P", "TIFF"),
        ("RGB", "TIFF"),
        ("I;16", "TIFF"),
        ("1", "PPM"),
        ("L", "PPM"),
        ("RGB", "PPM"),
        ("P", "GIF"),
        ("L", "JPEG"),
        ("RGB", "JPEG"),
    ],
)
def test_reads_what_pillow_writes(make: Any, mode: str, kind: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(make.scene(channels=1, dtype=np.uint16)[..., 0])
    elif mode == "LA":
        image = Image.fromarray(make.scene(channels=2), "LA")
    elif mode == "RGBA":
        image = Image.fromarray(make.scene(channels=4))
    else:
        image = Image.fromarray(make.scene()).convert(mode)
    data = make.encoded(image, kind)
    wanted = np.asarray(Image.open(io.BytesIO(data)).convert("RGB") if mode == "P" else image)
    if kind == "JPEG":
        wanted = np.asarray(Image.open(io.BytesIO(data)))
    wanted = wanted * np.uint8(255) if mode == "1" else wanted
    got = pictures.open_picture(data).pixels()
    expected = wanted.reshape(got.shape)
    if mode in ("RGBA", "LA"):
        expected = np.where(expected[..., -1:] == 0, got, expected)
    assert got.dtype == expected.dtype
    assert np.abs(got.astype(int) - expected.astype(int)).max() <= (1 if kind == "JPEG" else 0)


def test_grey_stays_grey(make: Any) -> None:
    for kind in ("jpeg", "png", "tiff", "ppm"):
        back = pictures.open_picture(make.wrote(make.scene(channels=1), kind))
        assert back.traits.channels == 1


@pytest.mark.parametrize("band", [1, 7, 64, 1000])
def test_bands_do_not_matter(make: Any, band: int) -> None:
    picture = pictures.open_picture(make.encoded(Image.fromarray(make.scene()), "PNG"))
    bands = list(picture.rows(band=band))
    assert max(piece.shape[0] for piece in bands) <= band
    assert np.array_equal(np.concatenate(bands), make.scene())


def test_the_content_decides_not_the_name(make: Any, tmp_path: Any) -> None:
    path = tmp_path / "wrong.jpg"
    path.write_bytes(make.encoded(Image.fromarray(make.scene()), "PNG"))
    assert pictures.open_picture(path).source_format == "png"


def test_multi_page_tiff_warns(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    pages = [Image.fromarray(make.scene()), Image.fromarray(make.scene()[::-1].copy())]
    data = make.encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    with caplog.at_level(logging.WARNING, "loopsr.io"):
        picture = pictures.open_picture(data)
    assert "2 pages" in caplog.text
    assert np.array_equal(picture.pixels(), make.scene())


def test_float_tiff_is_refused_in_words(make: Any) -> None:
    data = make.encoded(Image.fromarray(make.scene()).convert("F"), "TIFF")
    with pytest.raises(ImageReadError, match="float, expected 8 or 16 bit"):
        pictures.open_picture(data)


def test_open_pixels_checks_its_array() -> None:
    assert pictures.open_pixels(np.zeros((3, 4), np.uint8)).traits.channels == 1
    for shape in ((3,), (3, 4, 5), (2, 3, 4, 3), (0, 4, 3)):
        with pytest.raises(ImageReadError, match="got an"):
            pictures.open_pixels(np.zeros(shape, np.uint8))
    with pytest.raises(ImageReadError, match="float64"):
        pictures.open_pixels(np.zeros((3, 4, 3)))


@pytest.mark.parametrize(
    ("name", "width", "height", "error"),
    [
        ("a.jpg", 65501, 10, ImageWriteError),
        ("a.webp", 10, 16384, ImageWriteError),
        ("a.gif", 65536, 10, ImageWriteError),
        ("a.bmp", 10, 10, UsageError),
        ("a", 10, 10, UnknownNameError),
        ("a.png", 0, 10, UsageError),
    ],
)
def test_targets_that_cannot_be(name: str, width: int, height: int, error: Any) -> None:
    with pytest.raises(error):
        pictures.check_target(name, width=width, height=height)


@pytest.mark.parametrize(
    ("name", "width", "height"), [("a.JPG", 65500, 65500), ("b.webp", 16383, 16383)]
)
def test_targets_that_just_fit(name: str, width: int, height: int) -> None:
    assert pictures.check_target(name, width=width, height=height).name in ("jpeg", "webp")


def test_encodings_that_mean_nothing() -> None:
    for name, encoding in (
        ("a.jpg", pictures.Encoding(lossless=True)),
        ("a.gif", pictures.Encoding(lossless=True)),
        ("a.png", pictures.Encoding(quality=50)),
        ("a.jpg", pictures.Encoding(quality=101)),
    ):
        with pytest.raises(UsageError):
            pictures.check_target(name, width=9, height=9, encoding=encoding)


def test_what_a_format_loses_is_said(caplog: pytest.LogCaptureFixture) -> None:
    traits = pictures.Traits(alpha=True, depth=16, metadata=pictures.Metadata(xmp=b"x"))
    with caplog.at_level(logging.WARNING, "loopsr.io"):
        pictures.check_target("a.png", width=9, height=9, traits=traits)
        assert caplog.text == ""
        pictures.check_target("a.jpg", width=9, height=9, frames=3, traits=traits)
    for word in ("one frame of 3", "8 bits", "laid over white"):
        assert word in caplog.text
    pictures.check_target("a.gif", width=9, height=9, traits=traits)
    assert "cannot hold xmp" in caplog.text
    assert "half transparency" in caplog.text


def test_quality_and_lossless_reach_the_encoder(make: Any) -> None:
    pixels = make.scene()
    for kind in ("jpeg", "webp", "avif"):
        low = make.wrote(pixels, kind, encoding=pictures.Encoding(quality=10))
        high = make.wrote(pixels, kind, encoding=pictures.Encoding(quality=95))
        assert len(low) < len(high)


def test_jpeg_keeps_full_chroma(make: Any) -> None:
    image = Image.open(io.BytesIO(make.wrote(make.scene(), "jpeg")))
    assert all(layer[1:3] == (1, 1) for layer in image.layer)  # type: ignore[attr-defined]

"""Colour profiles: nothing shifts, nothing is clipped, nothing is dropped without a word."""

from __future__ import annotations

import io
import logging
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from loopsr import io as pictures
from loopsr.io.colour import apply_table, profile_space, srgb_encode, tone_tables
from loopsr.io.libvips import vips

# Primaries in the profile connection space (D50), red green blue: ICC profiles of the same names.
PRIMARIES = {
    "adobe": (
        (0.60974, 0.31111, 0.01947),
        (0.20528, 0.62567, 0.06087),
        (0.14919, 0.06322, 0.74457),
    ),
    "p3": ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)),
}


def fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def matrix_profile(primaries: Any, curve: bytes, space: bytes = b"RGB ") -> bytes:
    """A real ICC v2 display profile, made by hand."""
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1.0, 0.8249),
    }
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    for name, primary in zip(b"rgb", primaries, strict=True) if space == b"RGB " else ():
        tags[bytes([name]) + b"XYZ"] = b"XYZ \0\0\0\0" + fixed(*primary)
        tags[bytes([name]) + b"TRC"] = curve
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        data += bytes(-len(data) % 4)
        table += tag + struct.pack(">II", start + len(body), len(data))
        body += data
    head = struct.pack(
        ">I4sI4s4s4s", start + len(body), b"none", 0x02100000, b"mntr", space, b"XYZ "
    )
    head = head.ljust(36, b"\0") + b"acsp"
    head = head.ljust(68, b"\0") + fixed(0.9642, 1.0, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256)) + b"\0\0"


LINEAR = b"curv\0\0\0\0" + struct.pack(">I", 0)
ADOBE = matrix_profile(PRIMARIES["adobe"], gamma(2.19921875))
P3 = matrix_profile(PRIMARIES["p3"], gamma(2.2))
LINEAR_P3 = matrix_profile(PRIMARIES["p3"], LINEAR)
GREY = matrix_profile((), gamma(2.2), b"GRAY")


def profiled(make: Any, icc: bytes, dtype: Any, channels: int = 3) -> bytes:
    pixels = make.scene(channels=channels, dtype=dtype)
    if channels == 3:
        top = np.iinfo(dtype).max
        pixels[:8, :8], pixels[:8, 8:16], pixels[8:16, :8] = (top, 0, 0), (0, top, 0), (0, 0, top)
    traits = pictures.Traits(
        channels=channels,
        depth=16 if dtype == np.uint16 else 8,
        metadata=pictures.Metadata(icc=icc),
    )
    # Written without loopsr's colour road: the pixels are already in the profile's own values.
    plain = vips().Image.new_from_array(pixels)
    plain = plain.copy(
        interpretation={1: "b-w", 3: "srgb"}[channels]
        if dtype == np.uint8
        else {1: "grey16", 3: "rgb16"}[channels]
    )
    plain.set_type(vips().GValue.blob_type, "icc-profile-data", traits.metadata.icc)
    data: bytes = plain.pngsave_buffer()
    return data


def stored(data: bytes) -> tuple[Any, bytes]:
    image = vips().Image.new_from_buffer(data, "")
    return image.numpy(), bytes(image.get("icc-profile-data"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("icc", [ADOBE, P3, LINEAR_P3], ids=["adobe", "p3", "linear"])
def test_wide_colours_survive(make: Any, icc: bytes, dtype: Any) -> None:
    ImageCms.getOpenProfile(io.BytesIO(icc))  # a profile that a real colour engine takes
    data = profiled(make, icc, dtype)
    picture = pictures.open_picture(data)
    before, profile = stored(data)
    after, again = stored(make.passed(picture, "png"))
    assert profile == again == icc
    assert after.dtype == before.dtype
    # 16 bits through sRGB's curve and back: where the curve is flatter, one step is up to 2.4.
    bound = 0 if icc is not LINEAR_P3 or dtype == np.uint8 else 2
    assert np.abs(after.astype(int) - before.astype(int)).max() <= bound


def test_clipping_to_srgb_would_be_seen(make: Any) -> None:
    data = profiled(make, P3, np.uint8)
    image = vips().Image.new_from_buffer(data, "")
    clipped = image.icc_transform("srgb", depth=16, embedded=True)
    clipped.set_type(vips().GValue.blob_type, "icc-profile-data", P3)
    back = clipped.icc_import(input_profile="srgb", embedded=False).icc_export(depth=8).numpy()
    assert np.abs(back.astype(int) - stored(data)[0].astype(int)).max() > 10


def test_linear_light_reaches_the_network_in_srgb_curve(make: Any) -> None:
    data = profiled(make, LINEAR_P3, np.uint8)
    picture = pictures.open_picture(data)
    assert (picture.traits.depth, picture.traits.stored_depth) == (16, 8)
    wanted = srgb_encode(stored(data)[0] / 255)
    assert np.abs(picture.pixels() / 65535 - wanted).max() < 1e-4
    assert pictures.open_picture(profiled(make, ADOBE, np.uint8)).traits.depth == 8


def test_tone_tables_invert() -> None:
    for curve in (LINEAR, gamma(1.0), gamma(3.2), gamma(0.7)):
        tables = tone_tables(matrix_profile(PRIMARIES["p3"], curve))
        assert tables is not None
        every = np.arange(65536, dtype=np.uint16).reshape(1, -1, 1).repeat(3, axis=2)
        back = apply_table(apply_table(every, tables.forward), tables.back)
        rough = 3 if curve in (LINEAR, gamma(1.0)) else 1000  # steep powers crush the ends
        assert np.abs(back.astype(int) - every.astype(int)).max() <= rough
    para = b"para\0\0\0\0" + struct.pack(">HH", 0, 0) + fixed(1.0)
    assert tone_tables(matrix_profile(PRIMARIES["p3"], para)) is not None
    srgb = (
        b"para\0\0\0\0"
        + struct.pack(">HH", 3, 0)
        + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    )
    assert tone_tables(matrix_profile(PRIMARIES["p3"], srgb)) is None


def test_srgb_profile_is_embedded_unchanged(make: Any) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = make.encoded(Image.fromarray(make.scene()), "PNG", icc_profile=icc)
    picture = pictures.open_picture(data)
    assert np.array_equal(picture.pixels(), make.scene())
    for kind in ("jpeg", "png", "webp", "tiff", "avif"):
        out = pictures.open_picture(make.passed(picture, kind))
        assert out.traits.metadata.icc == icc


def test_grey_profile_stays_with_grey(make: Any) -> None:
    data = profiled(make, GREY, np.uint8, channels=1)
    picture = pictures.open_picture(data)
    assert picture.traits.channels == 1
    pixels, icc = stored(make.passed(picture, "png"))
    assert icc == GREY
    assert np.array_equal(pixels.reshape(40, 60), make.scene(channels=1)[..., 0])


@pytest.mark.parametrize("icc", [b"rubbish", GREY, ADOBE[:200], b"\0" * 500])
def test_unfit_profiles_are_left_out_in_words(
    make: Any, icc: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    data = make.encoded(Image.fromarray(make.scene()), "TIFF", icc_profile=icc)
    with caplog.at_level(logging.WARNING, "loopsr.io"):
        picture = pictures.open_picture(data)
    assert np.array_equal(picture.pixels(), make.scene())
    make.passed(picture, "png")
    if profile_space(icc) != "RGB":
        assert "profile is left out" in caplog.text or "is left out" in caplog.text


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_srgb(make: Any, kind: str) -> None:
    flat = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    picture = pictures.open_picture(make.encoded(flat, kind))
    red, green, blue = (int(value) for value in picture.pixels()[8, 8])
    assert red > 180
    assert max(green, blue) < 90
    assert picture.traits.channels == 3
    assert picture.traits.metadata.icc is None
    white = pictures.open_picture(make.encoded(Image.new("CMYK", (8, 8)), kind))
    assert white.pixels().min() >= 253

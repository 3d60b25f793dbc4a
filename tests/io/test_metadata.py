"""What a picture keeps: orientation, EXIF, XMP, resolution; and what must go: the thumbnail."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from loopsr import io as pictures
from loopsr.io.exif import clean_exif, exif_resolution, resized_exif

XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><a/></x:xmpmeta>"
KEEP_EXIF = ("jpeg", "png", "webp", "tiff", "avif")


def exif_of(orientation: int = 1, big_endian: bool = False) -> Image.Exif:
    exif = Image.Exif()
    exif.endian = ">" if big_endian else "<"
    exif[0x010F] = "Maker of cameras"
    exif[0x0112] = orientation
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    exif.get_ifd(0x8769)[0xA002] = 60
    exif.get_ifd(0x8769)[0xA003] = 40
    exif.get_ifd(0x8825)[1] = "N"
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(make: Any, kind: str, orientation: int) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = make.encoded(Image.fromarray(make.scene()), kind, exif=exif_of(orientation), **options)
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    picture = pictures.open_picture(data)
    assert (picture.width, picture.height) == (wanted.shape[1], wanted.shape[0])
    difference = np.abs(picture.pixels().astype(int) - wanted.astype(int)).max()
    assert difference <= (2 if kind == "JPEG" else 0)
    again = Image.open(io.BytesIO(make.passed(picture, "png")))
    assert again.getexif().get(0x0112, 1) == 1
    assert np.array_equal(np.asarray(again), picture.pixels())


def test_orientations_of_the_scene_all_differ(make: Any) -> None:
    turned = [Image.fromarray(make.scene()).transpose(how) for how in Image.Transpose]
    views = {image.tobytes() for image in [Image.fromarray(make.scene()), *turned]}
    assert len(views) == 8


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("kind", KEEP_EXIF)
def test_exif_and_xmp_are_kept(make: Any, kind: str, big_endian: bool) -> None:
    exif = exif_of(6, big_endian)
    image = Image.fromarray(make.scene())
    data = make.encoded(image, "JPEG", exif=exif, xmp=XMP, dpi=(300, 300), quality=95)
    picture = pictures.open_picture(data)
    out = make.passed(picture, kind, resize_to=(20, 30))
    got = Image.open(io.BytesIO(out)).getexif()
    assert got[0x010F] == "Maker of cameras"
    assert got.get(0x0112, 1) == 1
    inner = got.get_ifd(0x8769)
    assert inner[0x9003] == "2020:01:02 03:04:05"
    assert (inner[0xA002], inner[0xA003]) == (20, 30)
    assert got.get_ifd(0x8825)[1] == "N"
    back = pictures.open_picture(out).traits.metadata
    assert back.xmp == XMP
    assert back.dpi == pytest.approx((300, 300), rel=1e-3)


def test_exif_of_a_tiff_is_read(make: Any) -> None:
    # Pillow writes no inner directory into a TIFF; that ours is right, the test above asks Pillow.
    data = make.encoded(Image.fromarray(make.scene()), "JPEG", exif=exif_of())
    data = make.passed(pictures.open_picture(data), "tiff")
    out = make.passed(pictures.open_picture(data), "jpeg")
    got = Image.open(io.BytesIO(out)).getexif()
    assert got[0x010F] == "Maker of cameras"
    assert got.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"


def thumbnail_exif(orientation: int = 3) -> bytes:
    """A block with a thumbnail, byte by byte: Pillow writes none."""
    thumb = b"\xff\xd8 a secret thumbnail \xff\xd9"
    ifd0 = struct.pack("<HHHIHH", 1, 0x0112, 3, 1, orientation, 0)
    second = 8 + len(ifd0) + 4
    start = second + 2 + 2 * 12 + 4
    ifd1 = struct.pack("<HHHIIHHII", 2, 0x0201, 4, 1, start, 0x0202, 4, 1, len(thumb))
    return (
        b"II*\0\x08\0\0\0" + ifd0 + struct.pack("<I", second) + ifd1 + struct.pack("<I", 0) + thumb
    )


def test_thumbnail_is_removed(make: Any) -> None:
    block = thumbnail_exif()
    data = make.encoded(Image.fromarray(make.scene()), "JPEG", exif=b"Exif\0\0" + block)
    assert b"a secret thumbnail" in data
    picture = pictures.open_picture(data)
    for kind in KEEP_EXIF:
        assert b"a secret thumbnail" not in make.passed(picture, kind)
    cleaned = clean_exif(block)
    assert cleaned is not None
    assert b"secret" not in cleaned
    assert b"secret" not in (clean_exif(block + b"more") or b"")


def test_no_exif_is_invented(make: Any) -> None:
    data = make.encoded(Image.fromarray(make.scene()), "PNG")
    for kind in KEEP_EXIF:
        out = Image.open(io.BytesIO(make.passed(pictures.open_picture(data), kind)))
        assert 0x8769 not in out.getexif()


def test_broken_exif_never_raises() -> None:
    whole = exif_of().tobytes().removeprefix(b"Exif\0\0")
    rng = np.random.default_rng(3)
    for _ in range(300):
        block = bytearray(whole[: rng.integers(0, len(whole) + 1)])
        for at in rng.integers(0, max(len(block), 1), 4):
            if block:
                block[at] = rng.integers(0, 256)
        cleaned = clean_exif(bytes(block))
        resized_exif(cleaned or bytes(block), width=5, height=6)
        exif_resolution(bytes(block))


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp", "avif"])
def test_resolution_is_kept(make: Any, kind: str) -> None:
    data = make.encoded(Image.fromarray(make.scene()), "PNG", dpi=(254, 127))
    out = make.passed(pictures.open_picture(data), kind)
    assert pictures.open_picture(out).traits.metadata.dpi == pytest.approx((254, 127), rel=1e-2)


def test_iptc_is_kept(make: Any) -> None:
    iptc = b"\x1c\x02\x78\x00\x05hello"
    picture = pictures.open_pixels(make.scene())
    traits = pictures.Traits(metadata=pictures.Metadata(iptc=iptc))
    for kind in ("jpeg", "tiff"):
        back = pictures.open_picture(make.wrote(picture.pixels(), kind, traits))
        assert iptc in (back.traits.metadata.iptc or b"")

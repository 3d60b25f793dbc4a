"""Damaged and hostile input: one clear error each, never half a picture, never a crash."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from loopsr import io as pictures
from loopsr.errors import ImageReadError, LoopsrError
from loopsr.io.libvips import vips

KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF", "PPM", "progressive", "film", "lzw")


def sample(make: Any, kind: str) -> bytes:
    image = Image.fromarray(make.scene())
    if kind == "progressive":
        return make.encoded(image, "JPEG", progressive=True)
    if kind == "lzw":
        return make.encoded(image, "TIFF", compression="tiff_lzw")
    if kind == "film":
        more = [image.rotate(90 * turn) for turn in (1, 2)]
        return make.encoded(image, "GIF", save_all=True, append_images=more, duration=50)
    return make.encoded(image, kind)


def whole(data: bytes) -> list[Any]:
    picture = pictures.open_picture(data)
    return [picture.pixels(frame) for frame in range(picture.frames)]


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_never_gives_half_a_picture(make: Any, kind: str) -> None:
    data = sample(make, kind)
    full = whole(data)
    cuts = {len(data) * part // 24 for part in range(24)} | {len(data) - k for k in range(1, 20)}
    said = []
    for cut in sorted(cuts):
        try:
            got = whole(data[:cut])
        except ImageReadError as error:
            said.append(str(error))
            continue
        # What follows the last pixel may be missing; then the picture must be complete.
        assert cut > len(data) - 20
        assert all(np.array_equal(one, two) for one, two in zip(got, full, strict=True))
    assert len(said) >= 24
    assert all(";" in line and "\n" not in line for line in said)


def test_truncation_shows_while_rows_stream(make: Any) -> None:
    data = make.encoded(Image.fromarray(make.scene(400, 600)), "PNG")
    picture = pictures.open_picture(data[: len(data) * 2 // 3])
    seen = []
    with pytest.raises(ImageReadError, match="cut short"):
        seen.extend(picture.rows())
    assert 0 < len(seen) < 600 // 64


def test_a_lenient_reader_would_pass_a_cut_file(make: Any) -> None:
    data = make.encoded(Image.fromarray(make.scene(200, 200)), "JPEG")
    data = data[: len(data) * 2 // 3]
    lenient = vips().Image.jpegload_buffer(data, fail_on="none")
    assert lenient.numpy().shape == (200, 200, 3)
    with pytest.raises(ImageReadError):
        whole(data)


FUZZ = """
import sys, numpy as np
from loopsr import io as pictures
from loopsr.errors import LoopsrError
limits = pictures.Limits(max_pixels=4_000_000)
rng = np.random.default_rng(int(sys.argv[1]))
read = refused = 0
for path in sys.argv[2:]:
    original = open(path, "rb").read()
    for _ in range(18):
        data = bytearray(original)
        for at in rng.integers(0, len(data), rng.integers(1, 9)):
            data[at] = rng.integers(0, 256)
        if rng.random() < 0.3:
            at = rng.integers(0, len(data)); del data[at : at + rng.integers(1, 40)]
        if rng.random() < 0.2:
            head = rng.integers(0, min(len(data), 64)); data[head] ^= 1 << rng.integers(0, 8)
        try:
            picture = pictures.open_picture(bytes(data), limits=limits)
            for frame in range(picture.frames):
                rows = picture.pixels(frame)
                assert rows.shape == (picture.height, picture.width, picture.traits.bands)
                assert rows.dtype == (np.uint16 if picture.traits.depth == 16 else np.uint8)
            read += 1
        except LoopsrError as error:
            assert "\\n" not in str(error), error
            refused += 1
print(read, refused)
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_fuzz(make: Any, tmp_path: Path, seed: int) -> None:
    # In a process of its own: a crash in a decoder must not look like a missing test.
    paths = []
    for kind in KINDS:
        path = tmp_path / kind
        path.write_bytes(sample(make, kind))
        paths.append(str(path))
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, str(seed), *paths],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(pictures.__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    read, refused = map(int, done.stdout.split())
    assert read + refused == 18 * len(KINDS)
    assert read > 0
    assert refused > 40


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (bomb(100_000, 100_000), "at most 1000000000 are allowed"),
        (bomb(2_000_000, 1), "max_side"),
        (bomb(0, 5), ""),
        (b"P6 90000 90000 255\n", "max_pixels"),
        (b"", "empty"),
        (b"hello, this is text", "text"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'></svg>", "SVG"),
        (b"%PDF-1.4", "PDF"),
        (b"\0" * 100, "no picture format"),
    ],
)
def test_refused_from_the_header(data: bytes, said: str) -> None:
    with pytest.raises(ImageReadError) as caught:
        pictures.open_picture(data)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_limits_hold_and_can_be_raised(make: Any) -> None:
    data = make.encoded(Image.fromarray(make.scene()), "PNG")
    pictures.open_picture(data, limits=pictures.Limits(max_pixels=2400, max_side=60))
    for limits in (
        pictures.Limits(max_pixels=2399),
        pictures.Limits(max_side=59),
        pictures.Limits(max_bytes=100),
    ):
        with pytest.raises(ImageReadError, match="max_"):
            pictures.open_picture(data, limits=limits)
    film = sample(make, "film")
    pictures.open_picture(film, limits=pictures.Limits(max_frames=3))
    with pytest.raises(ImageReadError, match="max_frames"):
        pictures.open_picture(film, limits=pictures.Limits(max_frames=2))
    whole_only = pictures.Limits(max_whole_pixels=2399)
    pictures.open_picture(data, limits=whole_only)
    for kind in ("WEBP", "AVIF", "progressive"):
        with pytest.raises(ImageReadError, match="max_whole_pixels"):
            pictures.open_picture(sample(make, kind), limits=whole_only)
    tagged = make.encoded(Image.fromarray(make.scene()), "TIFF", icc_profile=b"x" * 3000)
    with pytest.raises(ImageReadError, match="max_metadata"):
        pictures.open_picture(tagged, limits=pictures.Limits(max_metadata=2000))


def test_files_that_are_none(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe.png"
    os.mkfifo(fifo)
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    for path, said in (
        (tmp_path / "missing.png", "no such file"),
        (tmp_path, "folder"),
        (fifo, "regular file"),
        (text, "text"),
    ):
        with pytest.raises(ImageReadError, match=said):
            pictures.open_picture(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(ImageReadError, match="permissions"):
        pictures.open_picture(path)


def test_stray_bytes_of_cameras_are_read(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    data = make.encoded(Image.fromarray(make.scene()), "JPEG")
    at = data.index(b"\xff\xda")
    got = whole(data[:at] + b"\1\2\3" + data[at:])
    assert np.array_equal(got[0], whole(data)[0])
    assert "stray bytes" in caplog.text


def test_damaged_jpeg_is_refused_not_painted_grey(make: Any) -> None:
    data = make.encoded(Image.fromarray(make.scene(200, 200)), "JPEG")
    middle = len(data) // 2
    with pytest.raises(ImageReadError):
        whole(data[:middle] + b"\xff\xd9" + data[middle:])


def test_a_replaced_file_is_read_anew(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(make.encoded(Image.fromarray(make.scene()), "PNG"))
    before = pictures.open_picture(path).pixels()
    path.write_bytes(make.encoded(Image.fromarray(make.scene()[::-1].copy()), "PNG"))
    assert np.array_equal(pictures.open_picture(path).pixels(), before[::-1])


def test_errors_are_ours() -> None:
    assert issubclass(ImageReadError, LoopsrError)
    picture = pictures.open_pixels(np.zeros((3, 3), np.uint8))
    with pytest.raises(ImageReadError, match="frame 1"):
        list(picture.rows(1))

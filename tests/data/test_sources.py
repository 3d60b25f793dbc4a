"""Folders become cached, aligned pairs."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import pyvips

from loopsr.data import sources
from loopsr.data.degrade import pipeline
from loopsr.data.sources import find_pictures, load_pairs, read_rgb
from loopsr.errors import ImageReadError, UsageError
from loopsr.ops.resize import resize

BICUBIC = pipeline("bicubic")


def save(path: Path, height: int, width: int, bands: int = 3, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, bands), np.uint8)
    pyvips.Image.new_from_array(pixels).write_to_file(str(path))
    return pixels


def test_pairs_are_the_pictures_and_their_matlab_reduction(tmp_path: Path) -> None:
    first = save(tmp_path / "a.png", 21, 34)
    save(tmp_path / "b.webp", 16, 16)
    pairs = load_pairs(find_pictures([tmp_path]), scale=4, steps=BICUBIC, cache=tmp_path / "c")
    assert pairs.names == ("a.png", "b.webp")
    assert np.array_equal(pairs.hr[0], first[:20, :32])
    assert np.array_equal(pairs.lr[0], resize(first[:20, :32], scale=1 / 4))
    assert pairs.lr[0].shape == (5, 8, 3)


def test_copies_are_the_picture_reduced_each_in_its_own_way(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 40, 60)
    save(tmp_path / "b.png", 3, 9)
    files = find_pictures([tmp_path])
    plain, more, most = (
        load_pairs(files, scale=2, steps=BICUBIC, copies=n, cache=tmp_path / "c") for n in (0, 2, 3)
    )
    assert len({plain.key, more.key, most.key}) == 3
    assert more.names[:3] == ("a.png",) * 3
    assert np.array_equal(more.hr[0], plain.hr[0])
    heights = [hr.shape[0] for hr in more.hr[1:3]]
    assert heights[0] != heights[1]
    for lr, hr in zip(more.lr, more.hr, strict=True):
        assert np.array_equal(lr, resize(hr, scale=1 / 2))
    for hr in more.hr[1:3]:
        assert 0.4 * 40 < hr.shape[0] <= 0.9 * 40 + 1
        assert hr.shape[1] / hr.shape[0] == pytest.approx(60 / 40, abs=0.1)
    # However many there are, each stays the same; one without a pixel of input is left out.
    assert all(np.array_equal(a, b) for a, b in zip(more.hr[:3], most.hr[:3], strict=True))
    assert min(min(lr.shape) for lr in most.lr) > 0


def test_pictures_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.png", 8, 8)
    load_pairs(find_pictures([tmp_path]), scale=2, steps=BICUBIC, cache=tmp_path / "c")
    monkeypatch.setattr(sources, "read_rgb", lambda path: pytest.fail("decoded again"))
    load_pairs(find_pictures([tmp_path / "a.png"]), scale=2, steps=BICUBIC, cache=tmp_path / "c")
    # Nor where they lie, or when they were put there, makes another set of them.
    (tmp_path / "b").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "b" / "a.png")
    os.utime(tmp_path / "b" / "a.png", (0, 0))
    load_pairs(find_pictures([tmp_path / "b"]), scale=2, steps=BICUBIC, cache=tmp_path / "c")


def test_any_number_of_threads_makes_the_same_pairs(tmp_path: Path) -> None:
    for number in range(9):
        save(tmp_path / f"{number}.png", 12 + 3 * number, 20, seed=number)
    (tmp_path / "4.png").write_text("no picture")
    files = find_pictures([tmp_path])
    settings = {"scale": 2, "steps": pipeline("photo"), "variants": 2, "copies": 1}
    one, four = (
        load_pairs(files, **settings, threads=n, cache=tmp_path / f"cache{n}") for n in (1, 4)
    )
    assert one.names == four.names
    assert len(set(one.names)) == 8
    for mine, others in ((one.hr, four.hr), (one.lr, four.lr)):
        assert all(np.array_equal(a, b) for a, b in zip(mine, others, strict=True))


@pytest.mark.parametrize("most", [900, 300, 50])
def test_threads_hold_no_more_pixels_together_than_one_may_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    for number in range(8):
        save(tmp_path / f"{number}.png", 12, 24, seed=number)
    files = find_pictures([tmp_path])
    held: list[int] = [0]
    lock, whole = threading.Lock(), sources.read_rgb

    def read(path: Path) -> np.ndarray:
        with lock:
            held.append(held[-1] + 1)
        time.sleep(0.03)
        with lock:
            held.append(held[-1] - 1)
        return whole(path)

    monkeypatch.setattr(sources, "read_rgb", read)
    monkeypatch.setattr(sources, "_ROOM", most)
    pairs = load_pairs(files, scale=2, steps=BICUBIC, threads=4, cache=tmp_path / "c")
    assert len(pairs.hr) == 8
    assert max(held) == max(1, most // (12 * 24))


def test_control_a_changed_picture_is_decoded_again(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 8, 8)
    files = find_pictures([tmp_path])
    before = load_pairs(files, scale=2, steps=BICUBIC, cache=tmp_path / "c")
    changed = save(tmp_path / "a.png", 8, 8, seed=1)
    after = load_pairs(files, scale=2, steps=BICUBIC, cache=tmp_path / "c")
    assert after.key != before.key
    assert np.array_equal(after.hr[0], changed)


def test_pictures_are_read_as_upscale_reads_them(tmp_path: Path) -> None:
    """Whole or not at all: damaged JPEG, floats, other names, more bits, PPM."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    (tmp_path / "a.ppm").write_bytes(b"P6\n12 8\n255\n" + pixels.tobytes())
    assert np.array_equal(read_rgb(tmp_path / "a.ppm"), pixels)
    grey = save(tmp_path / "grey.png", 8, 12, bands=1)
    assert np.array_equal(read_rgb(tmp_path / "grey.png"), np.repeat(grey, 3, axis=2))
    wide = np.random.default_rng(0).integers(0, 65536, (8, 12, 3), np.uint16)
    image = pyvips.Image.new_from_array(wide, interpretation="rgb16")
    image.write_to_file(str(tmp_path / "wide.png"))
    rounded = np.floor(wide / 257 + 0.5).astype(np.uint8)
    assert np.array_equal(read_rgb(tmp_path / "wide.png"), rounded)

    save(tmp_path / "b.jpg", 64, 64)
    data = bytearray((tmp_path / "b.jpg").read_bytes())
    half = len(data) // 2
    data[half : half + 200] = np.random.default_rng(1).bytes(200)
    (tmp_path / "b.jpg").write_bytes(data)
    floats = pyvips.Image.new_from_array(np.full((8, 8), 0.5, np.float32))
    floats.write_to_file(str(tmp_path / "c.tif"))
    odd = tmp_path / os.fsdecode(b"\xff\xfe.png")
    odd.write_bytes((tmp_path / "grey.png").read_bytes())
    for path in (tmp_path / "b.jpg", tmp_path / "c.tif", odd):
        with pytest.raises(ImageReadError):
            read_rgb(path)
    pairs = load_pairs(find_pictures([tmp_path]), scale=2, steps=BICUBIC, cache=tmp_path / "cache")
    assert pairs.names == ("a.ppm", "grey.png", "wide.png")


def test_unreadable_pictures_are_skipped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "good.png", 8, 8)
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.jpg").write_bytes(b"")
    with caplog.at_level(logging.WARNING, "loopsr"):
        pairs = load_pairs(find_pictures([tmp_path]), scale=2, steps=BICUBIC, cache=tmp_path / "c")
    assert pairs.names == ("good.png",)
    assert "3 of 4 pictures were skipped" in caplog.text


def test_only_unreadable_pictures(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ImageReadError, match="none of 1 pictures"):
        load_pairs(find_pictures([tmp_path]), scale=2, steps=BICUBIC, cache=tmp_path / "c")
    assert not list((tmp_path / "c").glob("*/index.json"))


def test_folders_that_give_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        find_pictures([tmp_path / "missing"])
    with pytest.raises(UsageError, match=r"no picture in .* expected files named"):
        find_pictures([tmp_path])
    with pytest.raises(UsageError, match="at least one folder"):
        find_pictures([])


def test_pictures_of_all_kinds_become_rgb(tmp_path: Path) -> None:
    save(tmp_path / "grey.png", 6, 7, bands=1)
    save(tmp_path / "alpha.png", 6, 7, bands=4)
    save(tmp_path / "sub.jpg", 6, 7)
    deep = pyvips.Image.new_from_array(np.full((6, 7, 3), 0x8000, np.uint16))
    deep.copy(interpretation="rgb16").write_to_file(str(tmp_path / "deep.png"))
    for path in find_pictures([tmp_path]):
        pixels = read_rgb(path)
        assert (pixels.shape, pixels.dtype) == ((6, 7, 3), np.uint8), path.name
    assert np.unique(read_rgb(tmp_path / "deep.png")).tolist() == [128]

"""Animated GIF and WebP: each frame, its time, and how often it runs."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

from loopsr import io as pictures

DELAYS = [50, 70, 90, 110]


def film(make: Any, kind: str, loop: int | None = 3) -> bytes:
    image = Image.fromarray(make.scene())
    frames = [image, *(image.rotate(90 * turn) for turn in (1, 2, 3))]
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    if loop is not None:
        options["loop"] = loop
    return make.encoded(
        frames[0], kind, save_all=True, append_images=frames[1:], duration=DELAYS, **options
    )


def frames_of(data: bytes) -> list[Any]:
    film = Image.open(io.BytesIO(data))
    return [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(film)]


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_frames_are_those_that_pillow_sees(make: Any, kind: str) -> None:
    data = film(make, kind)
    picture = pictures.open_picture(data)
    assert (picture.width, picture.height, picture.frames) == (60, 40, 4)
    assert picture.traits.metadata.delays == tuple(DELAYS)
    wanted = frames_of(data)
    for frame in range(4):
        assert np.abs(picture.pixels(frame)[..., :3] - wanted[frame]).max() <= 1
    # In any order, and again:
    assert np.abs(picture.pixels(1)[..., :3] - wanted[1]).max() <= 1
    assert np.abs(picture.pixels(1)[..., :3] - wanted[2]).max() > 50


@pytest.mark.parametrize("source", ["GIF", "WEBP"])
@pytest.mark.parametrize("target", ["gif", "webp"])
@pytest.mark.parametrize("loop", [0, 3])
def test_timing_and_loop_are_kept(make: Any, source: str, target: str, loop: int) -> None:
    data = film(make, source, loop)
    before = Image.open(io.BytesIO(data))
    picture = pictures.open_picture(data)
    out = make.passed(picture, target, encoding=pictures.Encoding(lossless=target == "webp"))
    again = pictures.open_picture(out)
    assert again.frames == 4
    assert again.traits.metadata.delays == tuple(DELAYS)
    assert again.traits.metadata.loop == picture.traits.metadata.loop
    if source.lower() == target:
        assert Image.open(io.BytesIO(out)).info.get("loop") == before.info.get("loop")
    for one, two in zip(frames_of(out), frames_of(data), strict=True):
        assert np.abs(one - two).mean() < (12 if target == "gif" else 1)


def test_frames_are_reduced_apart(make: Any) -> None:
    picture = pictures.open_picture(film(make, "WEBP"))
    out = make.passed(
        picture, "webp", resize_to=(30, 20), encoding=pictures.Encoding(lossless=True)
    )
    again = pictures.open_picture(out)
    assert (again.width, again.height, again.frames) == (30, 20, 4)
    alone = make.wrote(picture.pixels(2), "png", resize_to=(30, 20))
    wanted = pictures.open_picture(alone).pixels()
    assert np.abs(again.pixels(2).astype(int) - wanted.astype(int)).max() <= 1


def test_a_still_format_takes_the_first_frame(make: Any) -> None:
    picture = pictures.open_picture(film(make, "GIF"))
    still = pictures.open_picture(make.passed(picture, "png"))
    assert still.frames == 1
    assert np.array_equal(still.pixels(), picture.pixels(0))


def test_transparent_gif_keeps_its_cut_out(make: Any) -> None:
    pixels = make.scene(channels=4)
    pixels[..., 3] = 255
    pixels[:20, :30, 3] = 0
    back = pictures.open_picture(make.wrote(pixels, "gif"))
    assert back.traits.alpha
    assert np.array_equal(back.pixels()[..., 3], pixels[..., 3])

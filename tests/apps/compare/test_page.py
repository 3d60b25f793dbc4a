"""The page: exact pixels, marked numbers, and no text of a user as markup."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from loopsr.apps.compare import page as pages
from loopsr.apps.compare.page import Column, Page, Sheet, heat, marked
from loopsr.metrics.psnr import luma

from .pages import decode, read_page


def noise(seed: int, height: int = 120, width: int = 150) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def sheet(**changes: object) -> Sheet:
    columns = [Column(name="a", pixels=noise(1)), Column(name="b", pixels=noise(2))]
    facts = {"name": "x.png", "input": noise(3, 30, 40), "columns": columns, **changes}
    return Sheet(**facts)  # type: ignore[arg-type]


def test_pictures_and_crops_are_exact() -> None:
    page = Page(title="t")
    page.add(sheet(reference=noise(4)))
    (data,) = read_page(page.html())["sheets"]
    assert [c["name"] for c in data["columns"]] == ["a", "b", "sharp original"]
    for column, seed in zip(data["columns"], (1, 2, 4), strict=True):
        assert np.array_equal(decode(column["image"]), noise(seed))
    assert np.array_equal(decode(data["input"]), noise(3, 30, 40))
    crop = data["crops"][0]
    x, y = (round(c * side - 48) for c, side in zip(crop["centre"], (150, 120), strict=True))
    assert np.array_equal(decode(crop["images"][1]), noise(2)[y : y + 96, x : x + 96])
    assert np.array_equal(
        decode(crop["errors"][0]), heat(noise(1), noise(4))[y : y + 96, x : x + 96]
    )
    assert [bool(error) for error in crop["errors"]] == [True, True, False]
    assert crop["notes"][2] == ""
    assert crop["notes"][0].endswith(" dB")


def test_large_pictures_are_reduced_for_the_slider_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_OVERVIEW", 75)
    page = Page(title="t")
    page.add(sheet())
    (data,) = read_page(page.html())["sheets"]
    assert (data["width"], data["height"], data["shrunk"]) == (75, 60, True)
    assert decode(data["columns"][0]["image"]).shape == (60, 75, 3)
    assert decode(data["crops"][0]["images"][0]).shape == (96, 96, 3)


def test_a_picture_too_long_for_webp() -> None:
    page = Page(title="t")
    page.add(sheet(input=noise(5, 2, 16400)))
    (data,) = read_page(page.html())["sheets"]
    assert np.array_equal(decode(data["input"]), noise(5, 2, 16400))


@pytest.mark.parametrize(
    "evil", ["</script><script>alert(1)</script>", "<!-- <script>", "{{data}}", "a`b</title>"]
)
def test_names_are_never_markup(evil: str) -> None:
    page = Page(title=evil, intro=[evil], heads=[evil], closing=[evil], credit=evil)
    columns = [Column(name=evil, pixels=noise(i), cells=[evil]) for i in (1, 2)]
    page.add(sheet(name=evil, columns=columns, note=evil))
    data = read_page(page.html())
    assert data["title"] == data["sheets"][0]["name"] == data["sheets"][0]["rows"][0][1] == evil


def test_the_best_figures_are_marked() -> None:
    rows = marked([["a", "30.1", "0.9"], ["b", "30.2", "0.8"]], ["model", "PSNR, luma", "seconds"])
    assert rows == [["a", "30.1", "0.9"], ["b", {"text": "30.2", "best": True}, "0.8"]]
    assert marked([["a", "30.1"]], ["model", "PSNR, luma"]) == [["a", "30.1"]]


def test_errors_are_dark_for_none_and_light_for_many() -> None:
    a = np.full((1, 3, 3), 100, np.uint8)
    b = a + np.array([0, 10, 60], np.uint8)[None, :, None]
    brightness = luma(heat(b, a))[0]
    assert heat(b, a)[0, 0].tolist() == [0, 0, 0]
    assert brightness[0] < brightness[1] < brightness[2]
    assert heat(b, a)[0, 2].tolist() == [252, 255, 164]

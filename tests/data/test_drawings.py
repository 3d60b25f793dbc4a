"""Drawings to learn from: the same for a number, of every kind, and never over other files."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from loopsr.data import drawings
from loopsr.data.pairs import detail
from loopsr.data.sources import find_pictures, read_rgb


@pytest.mark.parametrize("number", range(len(drawings.KINDS)))
def test_a_drawing_has_detail_and_is_its_numbers(number: int) -> None:
    drawn = drawings.draw(number, side=256)
    assert drawn.shape == (256, 256, 3)
    assert drawn.dtype == np.uint8
    assert detail(drawn) > 1
    assert np.array_equal(drawn, drawings.draw(number, side=256))
    assert not np.array_equal(drawn, drawings.draw(number + len(drawings.KINDS), side=256))


@pytest.mark.parametrize("number", range(20))
def test_every_file_is_well_formed(number: int) -> None:
    sheet = drawings.Sheet(np.random.default_rng(number), 256)
    kind = drawings.KINDS[number % len(drawings.KINDS)]
    root = ElementTree.fromstring(sheet.svg(kind(sheet)))
    names = [node.get("id") for node in root.iter() if node.get("id")]
    assert len(names) == len(set(names))
    # Every fill that is named is there.
    values = [value for node in root.iter() for value in node.attrib.values()]
    assert {value[5:-1] for value in values if value.startswith("url(#")} <= set(names)


def test_a_comic_is_gray_and_a_cartoon_is_not() -> None:
    kinds = drawings.KINDS
    comic = drawings.draw(kinds.index(drawings.comic), side=256)
    assert np.ptp(comic, axis=2).max() == 0
    assert np.ptp(drawings.draw(kinds.index(drawings.cartoon), side=256), axis=2).max() > 50


def test_corners_of_a_wall_are_where_they_are_seen() -> None:
    corners = np.array([[10.0, 20.0], [90.0, 5.0], [80.0, 95.0], [0.0, 70.0]])
    seen = drawings._homography(corners)
    for (u, v), expected in zip([(0, 0), (1, 0), (1, 1), (0, 1)], corners, strict=True):
        x, y, depth = seen @ (u, v, 1)
        assert np.allclose((x / depth, y / depth), expected)


def test_a_folder_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "drawings"
    assert drawings.main([str(folder), "--count", "2", "--first", "5"]) == 0
    files = find_pictures([folder])
    assert [file.name for file in files] == ["0005.png", "0006.png"]
    assert read_rgb(files[0]).shape == (drawings.SIDE, drawings.SIDE, 3)
    before = files[0].read_bytes()
    assert drawings.main([str(folder), "--count", "1"]) == 2
    assert drawings.main([str(tmp_path / "new"), "--first", "-5"]) == 2
    assert "is not empty; pass a new folder" in capsys.readouterr().err
    assert files[0].read_bytes() == before
    assert len(find_pictures([folder])) == 2

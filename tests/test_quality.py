"""The quality benchmark says which bars are missed."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def quality(benchmarks: None) -> ModuleType:
    return importlib.import_module("quality")


def rows(loop: float, lrn: float, data: str = "Set5") -> list[dict[str, object]]:
    values = {"loop": loop, "lrn": lrn}
    return [{"model": m, "data": data, "scale": 2, "psnr_y": v} for m, v in values.items()]


def test_bars(quality: ModuleType) -> None:
    assert quality.misses(rows(37.6, 37.1)) == []
    assert quality.misses(rows(37.59, 37.1)) == ["loop x2 on Set5: 37.59 dB, the bar is 37.60"]
    assert quality.misses(rows(37.7, 37.7)) == ["loop x2 on Set5: 37.70 dB, lrn has 37.70"]
    assert quality.misses(rows(31.0, 30.0, "BSD100")) == []


def test_each_size_is_to_beat_the_one_below(quality: ModuleType) -> None:
    sizes = {"bicubic": 25.0, "loop-xs": 26.0, "loop-s": 27.0, "loop": 28.0}

    def missed(**other: float) -> list[str]:
        values = sizes | {name.replace("_", "-"): value for name, value in other.items()}
        return quality.misses(
            [{"model": m, "data": "B", "scale": 4, "psnr_y": v} for m, v in values.items()]
        )

    assert missed() == []
    assert missed(loop_s=28.0) == ["loop x4 on B: 28.00 dB, loop-s has 28.00"]
    assert missed(loop_xs=24.9) == ["loop-xs x4 on B: 24.90 dB, bicubic has 25.00"]
    assert missed(loop_s=25.9) == ["loop-s x4 on B: 25.90 dB, loop-xs has 26.00"]


def test_readme_table_is_written_between_its_marks(quality: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("a\n<!-- models: begin (x) -->\nold\n<!-- models: end -->\nb\n")
    row = {"model": "bicubic", "data": "Set5", "scale": 2, "psnr_y": 33.67, "ssim_y": 0.93}
    quality.fill_readme([row], page)
    text = page.read_text()
    assert "| bicubic x2 |  |  | 33.67 / 0.9300 |" in text
    assert "old" not in text
    assert text.startswith("a\n<!-- models: begin (x) -->\n| |")
    assert text.endswith("|\n<!-- models: end -->\nb\n")


def test_readme_without_marks_is_refused(quality: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("nothing")
    with pytest.raises(SystemExit, match="no marks"):
        quality.fill_readme([], page)
    assert page.read_text() == "nothing"

"""The quality benchmark says which bars are missed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def quality() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "quality.py"
    spec = importlib.util.spec_from_file_location("quality", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(loop: float, lrn: float, data: str = "Set5") -> list[dict[str, object]]:
    values = {"loop": loop, "lrn": lrn}
    return [{"model": m, "data": data, "scale": 2, "psnr_y": v} for m, v in values.items()]


def test_bars(quality: ModuleType) -> None:
    assert quality.misses(rows(37.2, 37.1)) == []
    assert quality.misses(rows(37.19, 37.1)) == ["loop x2 on Set5: 37.19 dB, the bar is 37.20"]
    assert quality.misses(rows(37.5, 37.5)) == ["loop x2 on Set5: 37.50 dB, lrn has 37.50"]
    assert quality.misses(rows(31.0, 30.0, "BSD100")) == []

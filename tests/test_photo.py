"""The benchmark of the photo networks measures what it says and knows its bars."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import pyvips

from loopsr.io.jpeg import recompress

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def photo(benchmarks: None) -> ModuleType:
    return importlib.import_module("photo")


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A folder with one set of two pictures."""
    folder = tmp_path / "bench" / "Waves" / "HR"
    folder.mkdir(parents=True)
    y, x = np.mgrid[0:48, 0:64]
    for i in (1, 2):
        waves = 127 + 90 * np.sin(np.stack([x * 0.4 * i, y * 0.5, (x + y) * 0.3 * i], -1))
        image = pyvips.Image.new_from_array(waves.astype(np.uint8))
        image.write_to_file(str(folder / f"{i}.png"))
    return tmp_path / "bench"


def rows(gain: float, change: float) -> list[dict[str, object]]:
    values = {
        ("plain", "jpeg"): 28.0,
        ("photo", "jpeg"): 28.0 + gain,
        ("plain", "clean"): 32.0,
        ("photo", "clean"): 32.0 + change,
    }
    return [
        {"data": "Set5", "scale": 2, "model": model, "input": kind, "psnr_y": value}
        for (model, kind), value in values.items()
    ]


def test_bars(photo: ModuleType) -> None:
    assert photo.misses(rows(0.5, -0.39)) == []
    (jpeg,) = photo.misses(rows(0.49, 0.1))
    assert jpeg == "x2 on Set5: +0.49 dB on JPEG inputs, at least +0.50 was wanted"
    (clean,) = photo.misses(rows(2.0, -0.4))
    assert clean == "x2 on Set5: -0.40 dB on clean inputs, the loss should be less than 0.40"


def test_inputs_are_what_they_are_called(photo: ModuleType) -> None:
    hr = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    lr = hr[::2, ::2]
    given = {kind: spoil(lr, hr, 3) for kind, spoil in photo.INPUTS.items()}
    assert np.array_equal(given["clean"], lr)
    assert np.array_equal(given["jpeg"], recompress(lr, quality=70, subsample=True))
    assert given["photo"].shape == lr.shape


def test_the_script(bench: Path, tmp_path: Path) -> None:
    """A model is no better than itself: the bar for JPEG is missed, and that is said."""
    command = [sys.executable, str(BENCHMARKS / "photo.py"), "--bench", str(bench)]
    command += ["--sets", "Waves", "--scales", "2", "--plain", "lanczos", "--photo", "lanczos"]
    done = subprocess.run(
        [*command, "--results", str(tmp_path)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 1, done.stderr
    assert "x2 on Waves: +0.00 dB on JPEG inputs" in done.stdout
    (path,) = tmp_path.glob("photo-*.json")
    report = json.loads(path.read_text())
    score = {(r["model"], r["input"]): r["psnr_y"] for r in report["results"]}
    assert score["bicubic", "clean"] > score["bicubic", "jpeg"] + 0.5
    wrong = subprocess.run([*command, "--photo", "lop.photo"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "lop.photo" in wrong.stderr

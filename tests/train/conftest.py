"""Small pictures to train on, and a cache of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvips

from loopsr.train.loop import Trained, train
from loopsr.train.recipe import Recipe

RECIPE = Recipe(
    name="tiny",
    network="lrn",
    network_config={"iters": 1},
    scale=2,
    steps=7,
    batch=2,
    patch=8,
    validate_every=3,
    save_every=2,
)


def run(pictures: Path, out: Path, recipe: Recipe = RECIPE) -> Trained:
    """Train on the CPU, with one thread."""
    return train(recipe, hr=[pictures], out=out, threads=1, device="cpu")


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three PNG pictures of waves, 33 to 50 pixels a side."""
    monkeypatch.setenv("LOOPSR_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    folder = tmp_path / "hr"
    folder.mkdir()
    for i, (height, width) in enumerate([(40, 33), (34, 50), (36, 36)]):
        y, x = np.mgrid[0:height, 0:width]
        waves = np.sin(
            x[..., None] * rng.uniform(0.2, 1.5, 3) + y[..., None] * rng.uniform(0, 1, 3)
        )
        pixels = (127 + 90 * waves + rng.normal(0, 5, waves.shape)).clip(0, 255).astype(np.uint8)
        pyvips.Image.new_from_array(pixels).write_to_file(str(folder / f"{i}.png"))
    return folder

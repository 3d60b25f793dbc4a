"""Small pictures to train on, and a cache of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvips


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

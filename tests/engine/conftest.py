"""What the engine's tests share: networks as the torch backend runs them, and pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from loopsr.weights import catalogue


@pytest.fixture
def weights(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The catalogue looks at the small untrained networks."""
    catalogue.write_index(tiny_weights)
    monkeypatch.setattr(catalogue, "FOLDER", tiny_weights)
    return tiny_weights


@pytest.fixture(scope="session")
def photo() -> Callable[[int, int], NDArray[np.float32]]:
    """(height, width) -> waves, an edge, noise and a flat field, float32 (h, w, 3)."""

    def make(height: int, width: int) -> NDArray[np.float32]:
        rng = np.random.default_rng(height * 1000 + width)
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        waves = 0.5 + 0.4 * np.sin(0.7 * x[..., None] + 0.4 * y[..., None] + np.arange(3))
        waves += rng.normal(0, 0.05, waves.shape)
        waves[height // 3 : height // 2, width // 4 : width // 2] = (0.2, 0.6, 1.0)
        return waves.clip(0, 1).astype(np.float32)

    return make

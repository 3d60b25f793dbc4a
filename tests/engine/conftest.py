"""What the engine's tests share: networks as the torch backend runs them, and pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from loopsr import models
from loopsr.export.package import make_card, write_package
from loopsr.weights import catalogue


@pytest.fixture
def weights(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The catalogue looks at the small untrained networks."""
    catalogue.write_index(tiny_weights)
    monkeypatch.setattr(catalogue, "FOLDER", tiny_weights)
    return tiny_weights


RULE = {"cell": 8, "stops": [1, 2, 3], "thresholds": [0.05, 0.3], "psnr": [29.0, 29.8, 30.0]}


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """loop-x2 and a smaller loop-s-x2, untrained, with a rule; loop-x4 without one."""
    folder = tmp_path_factory.mktemp("family")
    for name, width in (("loop-x2", 8), ("loop-s-x2", 4), ("loop-x4", 6)):
        torch.manual_seed(width)
        network = models.create("loop", scale=int(name[-1]), width=width, own=0, depth=1)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        card = make_card(network, name=name, kind="loop")
        if name != "loop-x4":
            card = dataclasses.replace(card, steps=RULE)
        write_package(network, folder, card=card)
    catalogue.write_index(folder)
    return folder


@pytest.fixture
def family(family_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The catalogue looks at that family."""
    monkeypatch.setattr(catalogue, "FOLDER", family_folder)
    return family_folder


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

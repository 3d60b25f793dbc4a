"""What is flat stays flat, whatever the network says, at any tile size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from loopsr.card import ModelCard
from loopsr.engine.flat import RADIUS, flat_mask
from loopsr.engine.tiling import upscale_rows


def slow_mask(pixels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The definition, pixel by pixel."""
    height, width = pixels.shape[:2]
    mask = np.zeros((height, width), bool)
    for y, x in itertools.product(range(height), range(width)):
        box = pixels[max(0, y - RADIUS) : y + RADIUS + 1, max(0, x - RADIUS) : x + RADIUS + 1]
        mask[y, x] = (box == pixels[y, x]).all()
    return mask


@pytest.mark.parametrize("seed", range(20))
def test_mask_is_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 24, 2)
    pixels = np.full((height, width, 3), 0.5, np.float32)
    for _ in range(rng.integers(0, 5)):  # a step, a field or a point, in any channel
        y, x = rng.integers(0, height), rng.integers(0, width)
        part = [np.s_[y:, x:], np.s_[y, x], np.s_[:, x:]][rng.integers(0, 3)]
        pixels[part][..., rng.integers(0, 3)] = rng.choice([0.25, 0.75])
    assert np.array_equal(flat_mask(pixels), slow_mask(pixels))


class Dirty:
    """A network that answers everything with the same wrong colour."""

    name = "dirty"
    calls = 0

    def run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        self.calls += 1
        batch, _, height, width = pixels.shape
        return np.full((batch, 3, 2 * height, 2 * width), 0.123, np.float32)


CARD = ModelCard(name="dirty-x2", network="dirty", config={}, scale=2, halo=1, parameters=0)


def run(pixels: NDArray[np.float32], tile: int) -> tuple[NDArray[np.float32], int]:
    backend = Dirty()
    height, width = pixels.shape[:2]
    rows = upscale_rows(backend, CARD, iter([pixels]), width=width, height=height, tile=tile)
    return np.concatenate(list(rows)), backend.calls


def test_white_stays_white_and_skips_the_network() -> None:
    output, calls = run(np.ones((20, 30, 3), np.float32), 8)
    assert calls == 0
    assert (output == 1).all()


@pytest.mark.parametrize("tile", [1, 2, 5, 7, 100])
def test_the_guard_does_not_depend_on_tiles(tile: int) -> None:
    pixels = np.full((20, 30, 3), (0.2, 0.4, 1.0), np.float32)
    pixels[9, 14, 1] += 1e-6  # the slightest step counts
    output, _ = run(pixels, tile)
    expected = np.full((20, 30, 3), (0.2, 0.4, 1.0), np.float32)
    expected[9 - RADIUS : 10 + RADIUS, 14 - RADIUS : 15 + RADIUS] = 0.123
    assert np.array_equal(output, expected.repeat(2, axis=0).repeat(2, axis=1))


def test_a_gradient_is_left_to_the_network() -> None:
    ramp = np.linspace(0, 1, 30, dtype=np.float32)
    output, _ = run(np.broadcast_to(ramp[None, :, None], (9, 30, 3)).copy(), 10)
    assert (output == np.float32(0.123)).all()

"""Tiles of the last frame are taken again only where that is exact."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from loopsr.engine import tiling
from loopsr.engine.backends import open_backend
from loopsr.engine.reuse import TileMemory
from loopsr.weights import catalogue

Array = NDArray[np.float32]


@pytest.fixture(scope="module")
def run() -> Callable[..., Array]:
    """The shipped network: an untrained one may look at nothing around a pixel."""
    card = catalogue.card("loop-x2")
    backend = open_backend("onnxruntime", card, catalogue.onnx_path("loop-x2"), threads=1)

    def upscale(frame: Array, memory: TileMemory | None = None) -> Array:
        height, width = frame.shape[:2]
        rows = tiling.upscale_rows(
            backend, card, iter([frame]), width=width, height=height, tile=16, memory=memory
        )
        return np.concatenate(list(rows))

    return upscale


def test_a_frame_like_the_last_costs_nothing(
    run: Callable[..., Array], photo: Callable[[int, int], Array]
) -> None:
    memory = TileMemory()
    frame = photo(48, 64)
    first = run(frame, memory)
    assert memory.hits == 0
    misses = memory.misses
    np.testing.assert_array_equal(run(frame.copy(), memory), first)
    assert memory.misses == misses
    assert memory.hits == misses


@pytest.mark.parametrize(("y", "x"), [(0, 0), (17, 15), (24, 40), (47, 63), (15, 16)])
def test_a_changed_pixel_is_seen_as_far_as_the_network_sees(
    run: Callable[..., Array], photo: Callable[[int, int], Array], y: int, x: int
) -> None:
    memory = TileMemory()
    frame = photo(48, 64)
    run(frame, memory)
    changed = frame.copy()
    changed[y, x] = 1 - changed[y, x]
    np.testing.assert_array_equal(run(changed, memory), run(changed))
    # And back again: the memory is that of the last frame, not of the first.
    np.testing.assert_array_equal(run(frame, memory), run(frame))


def test_unchanged_tiles_are_reused(
    run: Callable[..., Array], photo: Callable[[int, int], Array]
) -> None:
    memory = TileMemory()
    frame = photo(160, 160)
    run(frame, memory)
    frame[0, 0] = 0.5
    run(frame, memory)
    assert memory.hits > 50  # of 100 tiles; the corner's neighbours are computed


def test_planted_fault_a_memory_that_looks_at_the_core_only(
    run: Callable[..., Array],
    photo: Callable[[int, int], Array],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = TileMemory()
    frame = photo(48, 64)
    run(frame, memory)
    monkeypatch.setattr(tiling, "_grown", lambda box, by, step: box)
    cores = TileMemory()
    run(frame, cores)
    changed = frame.copy()
    changed[15, 16] = 1 - changed[15, 16]
    wrong = run(changed, cores)
    monkeypatch.undo()
    assert not np.array_equal(wrong, run(changed))

"""Tiling changes nothing, at any size; and it holds only the rows it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from loopsr import models
from loopsr.card import ModelCard
from loopsr.engine.backends.torch import Torch
from loopsr.engine.tiling import longest_span, spans, upscale_rows
from loopsr.errors import BackendError, ImageReadError

Photo = Callable[[int, int], NDArray[np.float32]]
BOUND = 1e-5


def card_of(network: Any, **changes: Any) -> ModelCard:
    values = {
        "name": "test-x2",
        "network": "test",
        "config": {},
        "scale": network.scale,
        "halo": network.halo,
        "parameters": 0,
        "multiple_of": network.multiple_of,
    }
    return ModelCard(**(values | changes))


def cut(pixels: NDArray[Any], band: int) -> Iterator[NDArray[Any]]:
    for top in range(0, len(pixels), band):
        yield pixels[top : top + band]


def tiled(
    network: nn.Module, pixels: NDArray[np.float32], tile: int | tuple[int, int], **changes: Any
) -> NDArray[np.float32]:
    card = card_of(network, **changes)
    height, width = pixels.shape[:2]
    rows = upscale_rows(
        Torch(network, card), card, cut(pixels, 5), width=width, height=height, tile=tile
    )
    return np.concatenate(list(rows))


class Centred(nn.Module):
    """An untrained network whose answers are brought inside [0, 1], where nothing is cut off."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner
        self.scale, self.halo = inner.scale, inner.halo
        self.multiple_of, self.iters = inner.multiple_of, inner.iters
        with torch.no_grad():
            probe = inner(torch.rand(1, 3, 24, 24))
        self.mean, self.spread = probe.mean(), probe.std()

    def forward(self, x: torch.Tensor, iters: int | None = None) -> torch.Tensor:
        return ((self.inner(x, iters) - self.mean) / self.spread).sigmoid()


def make(name: str, **config: Any) -> Centred:
    torch.manual_seed(1)
    network = models.create(name, **config)
    with torch.no_grad():  # a fresh network may copy its input and look at nothing around it
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return Centred(network)


NETWORKS = {
    "lrn-x2": lambda: make("lrn", scale=2, iters=2),
    "lrn-x3": lambda: make("lrn", scale=3, iters=1),
    "loop-x4": lambda: make("loop", scale=4, width=8, own=0, depth=2, iters=2),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("tile", [1, 3, 8, 16, (4, 23), (40, 7)])
def test_tiled_equals_untiled(name: str, tile: int | tuple[int, int], photo: Photo) -> None:
    network, pixels = NETWORKS[name](), photo(21, 30)
    if tile == 1:
        pixels = pixels[:4, :6]
    whole = tiled(network, pixels, 1000)
    assert whole.shape == (pixels.shape[0] * network.scale, pixels.shape[1] * network.scale, 3)
    assert whole.std() > 0.05  # or nothing would be compared
    assert np.abs(tiled(network, pixels, tile) - whole).max() <= BOUND


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 3), (4, 4), (33, 2)])
def test_tiny_pictures(size: tuple[int, int], photo: Photo) -> None:
    network, pixels = NETWORKS["lrn-x2"](), photo(*size)
    assert np.abs(tiled(network, pixels, 3) - tiled(network, pixels, 1000)).max() <= BOUND


def test_untiled_is_the_network_itself(photo: Photo) -> None:
    network, pixels = NETWORKS["lrn-x2"](), photo(13, 17)
    pixels = np.random.default_rng(0).random(pixels.shape, np.float32)  # nothing flat
    with torch.no_grad():
        direct = network(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    assert np.abs(tiled(network, pixels, 1000) - direct.clamp(0, 1).numpy()).max() <= BOUND


def test_half_the_halo_breaks_the_bound(photo: Photo) -> None:
    network, pixels = NETWORKS["lrn-x2"](), photo(21, 30)
    whole = tiled(network, pixels, 1000)
    wrong = tiled(network, pixels, 8, halo=network.halo // 2)
    assert np.abs(wrong - whole).max() > 10 * BOUND


class Coarse(nn.Module):
    """A network on a grid of 4 pixels: sees all of its own block, and one block on each side."""

    scale, halo, multiple_of, iters = 2, 8, 4, 1

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.inner = nn.Conv2d(48, 48 * 4, 3, padding=1)

    def forward(self, x: torch.Tensor, iters: int | None = None) -> torch.Tensor:
        blocks = self.inner(nn.functional.pixel_unshuffle(x, 4))
        return nn.functional.pixel_shuffle(blocks, 8).sigmoid()


@pytest.mark.parametrize("tile", [1, 5, 8, 13])
@pytest.mark.parametrize("size", [(19, 22), (16, 16), (3, 2), (1, 9)])
def test_multiple_of(tile: int, size: tuple[int, int], photo: Photo) -> None:
    network, pixels = Coarse(), photo(*size)
    whole = tiled(network, pixels, 1000)
    assert whole.shape == (2 * size[0], 2 * size[1], 3)
    assert np.abs(tiled(network, pixels, tile) - whole).max() <= BOUND


def test_a_tile_off_the_grid_breaks_the_bound(photo: Photo) -> None:
    class OffGrid(Coarse):
        def forward(self, x: torch.Tensor, iters: int | None = None) -> torch.Tensor:
            below, beside = -x.shape[2] % 4, -x.shape[3] % 4
            padded = nn.functional.pad(x, (0, beside, 0, below), mode="replicate")
            return super().forward(padded)[..., : 2 * x.shape[2], : 2 * x.shape[3]]

    network, pixels = OffGrid(), photo(19, 22)
    whole = tiled(network, pixels, 1000)
    assert np.abs(tiled(network, pixels, 5, multiple_of=1) - whole).max() > 10 * BOUND


class Global(nn.Module):
    """A network whose every output pixel sees the whole picture."""

    scale, halo, multiple_of, iters = 2, None, 1, 1

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor, iters: int | None = None) -> torch.Tensor:
        return nn.functional.interpolate(x, scale_factor=2) - 0.5 * x.mean()


def test_a_global_network_sees_everything_at_once(photo: Photo) -> None:
    pixels = photo(12, 15)
    assert np.array_equal(tiled(Global(), pixels, 4), tiled(Global(), pixels, 1000))
    assert np.abs(tiled(Global(), pixels, 4, halo=2) - tiled(Global(), pixels, 1000)).max() > 1e-3


def test_only_the_needed_rows_are_pulled(photo: Photo) -> None:
    network, pixels = NETWORKS["lrn-x2"](), photo(200, 10)
    pulled = 0

    def source() -> Iterator[NDArray[np.float32]]:
        nonlocal pulled
        for row in pixels:
            pulled += 1
            yield row[None]

    card = card_of(network)
    rows = upscale_rows(Torch(network, card), card, source(), width=10, height=200, tile=10)
    emitted = 0
    for band in rows:
        emitted += len(band) // 2
        assert pulled <= emitted + network.halo + 2
    assert emitted == 200


def test_a_picture_that_ends_early(photo: Photo) -> None:
    network, pixels = NETWORKS["lrn-x2"](), photo(10, 10)
    card = card_of(network)
    rows = upscale_rows(Torch(network, card), card, cut(pixels, 4), width=10, height=12, tile=4)
    with pytest.raises(ImageReadError, match="after 10 of 12 rows"):
        list(rows)


def test_not_a_number_is_never_written(photo: Photo) -> None:
    network = NETWORKS["lrn-x2"]()
    with torch.no_grad():
        network.inner.last.bias.fill_(float("nan"))
    with pytest.raises(BackendError, match="no numbers"):
        tiled(network, photo(8, 8), 4)


def test_progress_counts_each_pixel_once(photo: Photo) -> None:
    network, pixels, done = NETWORKS["lrn-x2"](), photo(21, 30), []
    card = card_of(network)
    list(
        upscale_rows(
            Torch(network, card),
            card,
            cut(pixels, 5),
            width=30,
            height=21,
            tile=8,
            report=done.append,
        )
    )
    assert sum(done) == 21 * 30
    assert len(done) == 12


@pytest.mark.parametrize(("length", "tile"), [(1, 1), (10, 3), (10, 10), (10, 99), (512, 100)])
def test_spans_are_even_and_complete(length: int, tile: int) -> None:
    pieces = spans(length, tile)
    lengths = [b - a for a, b in pieces]
    assert sum(lengths) == length
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) == longest_span(length, tile) <= tile

"""Every network of the registry against the contract in ``loopsr.models``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import loopsr.models as models
from loopsr.errors import UnknownNameError, UsageError

CASES = [(name, scale) for name in models.NETWORKS for scale in (2, 3, 4)]
PARAMETERS = {
    ("lrn", 2): 57_175,
    ("lrn", 3): 58_135,
    ("lrn", 4): 65_015,
}
LARGEST = 75_000


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-x{case[1]}")
def network(request: pytest.FixtureRequest) -> torch.nn.Module:
    name, scale = request.param
    torch.manual_seed(1)
    made = models.create(name, scale=scale)
    made.registered_name = name
    with torch.no_grad():  # per-step scales that start as the identity must take part
        for parameter in made.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    return made.eval()


def outside_changes(network: torch.nn.Module, halo: int) -> tuple[float, float]:
    """How much a pixel just outside, and one at the edge of, ``halo`` changes the centre pixel."""
    side = 2 * halo + 5
    centre = side // 2
    block = slice(centre * network.scale, (centre + 1) * network.scale)
    torch.manual_seed(2)
    x = torch.rand(1, 3, side, side, dtype=torch.float64)
    changes = []
    with torch.no_grad():
        # Fresh weights may hardly look around, and what they see must get through all layers.
        for parameter in network.parameters():
            if parameter.dim() == 4:
                torch.nn.init.kaiming_normal_(parameter)
        before = network(x)[..., block, block]
        for distance in (halo + 1, halo):
            moved = x.clone()
            moved[..., centre - distance, :] += 1e3
            changes.append((network(moved)[..., block, block] - before).abs().max().item())
    return changes[0], changes[1]


def test_follows_the_protocol(network: torch.nn.Module) -> None:
    assert isinstance(network, models.Network)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 2), (17, 23)])
def test_any_size_gives_scale_times_the_size(
    network: torch.nn.Module, size: tuple[int, int]
) -> None:
    with torch.no_grad():
        y = network(torch.rand(2, 3, *size))
    assert y.shape == (2, 3, size[0] * network.scale, size[1] * network.scale)
    assert torch.isfinite(y).all()


def test_halo_is_exactly_the_reach(network: torch.nn.Module) -> None:
    outside, edge = outside_changes(network.double(), network.halo)
    assert outside == 0
    assert edge > 0


def test_halo_test_catches_a_halo_that_is_too_small(network: torch.nn.Module) -> None:
    outside, _ = outside_changes(network.double(), network.halo - 1)
    assert outside > 0


def test_config_builds_the_same_network(network: torch.nn.Module) -> None:
    config = json.loads(json.dumps(network.config()))
    twin = models.create(network.registered_name, **config)
    twin.load_state_dict(network.state_dict())
    x = torch.rand(1, 3, 6, 5)
    with torch.no_grad():
        assert torch.equal(twin(x), network(x))


def test_unroll_ends_where_forward_does(network: torch.nn.Module) -> None:
    x = torch.rand(1, 3, 6, 5)
    with torch.no_grad():
        pictures = list(network.unroll(x))
        assert len(pictures) == network.iters
        assert torch.equal(pictures[-1], network(x))
        assert torch.equal(pictures[0], network(x, iters=1))
        if network.iters > 1:
            assert not torch.equal(pictures[0], pictures[-1])


def test_calls_leave_no_state(network: torch.nn.Module) -> None:
    x = torch.rand(1, 3, 6, 5)
    with torch.no_grad():
        before = network(x)
        network(torch.rand(1, 3, 9, 9))
        assert torch.equal(network(x), before)


def test_more_steps_than_trained_run(network: torch.nn.Module) -> None:
    with torch.no_grad():
        y = network(torch.rand(1, 3, 4, 4), iters=network.iters + 2)
    assert torch.isfinite(y).all()


@pytest.mark.parametrize(("name", "scale"), CASES)
def test_parameters(name: str, scale: int) -> None:
    count = models.count_parameters(models.create(name, scale=scale))
    assert count < LARGEST
    assert count == PARAMETERS.get((name, scale), count)


def test_macs_of_one_convolution_are_counted_by_hand() -> None:
    assert models.macs_per_pixel(torch.nn.Conv2d(3, 8, 3, padding=1)) == 9 * 3 * 8
    assert models.macs_per_pixel(torch.nn.ConvTranspose2d(3, 8, 2, 2)) == 4 * 3 * 8


def test_lrn_counts_every_repetition() -> None:
    few, many = (models.macs_per_pixel(models.create("lrn", scale=2, iters=n)) for n in (1, 3))
    assert many - few == 2 * 9 * 64 * 64


@pytest.mark.parametrize("name", models.NETWORKS)
def test_bad_arguments_are_named(name: str) -> None:
    with pytest.raises(UsageError, match="got 5"):
        models.create(name, scale=5)
    with pytest.raises(UsageError, match="at least 1"):
        models.create(name, scale=2, iters=0)
    with pytest.raises(UsageError, match="colour"):
        models.create(name, scale=2, colour="red")


def test_loop_takes_odd_kernels_only() -> None:
    wide, narrow = (models.create("loop", scale=2, kernel=kernel).halo for kernel in (5, 3))
    assert wide - 1 == 2 * (narrow - 1)
    with pytest.raises(UsageError, match="an odd side"):
        models.create("loop", scale=2, kernel=4)


def test_unknown_network_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean loop"):
        models.create("loopp", scale=2)


def test_every_file_is_in_the_registry() -> None:
    folder = Path(models.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert files == {
        target.partition(":")[0].rpartition(".")[2] for target in models.NETWORKS.values()
    }


def test_loop_steps_have_weights_of_their_own() -> None:
    """Those of step 3 change its picture only; those that are shared change all."""
    torch.manual_seed(4)
    network = models.create("loop", scale=2, width=8, own=1, depth=1, iters=3)
    x = torch.rand(1, 3, 9, 9)
    with torch.no_grad():
        network.tail.weight.mul_(30)  # it starts near zero
        before = list(network.unroll(x, iters=4))
        network.own[2][0].narrow.weight.mul_(-1)
        own = list(network.unroll(x, iters=4))
        network.cell[0].narrow.weight.mul_(-1)
        shared = list(network.unroll(x, iters=4))
    assert [torch.equal(a, b) for a, b in zip(before, own, strict=True)] == [
        True,
        True,
        False,
        False,
    ]
    assert not any(torch.equal(a, b) for a, b in zip(own, shared, strict=True))
    assert network.halo == 1 + 3 * 2 * 2
    assert len(network.hidden_weights()) == 2 * 4


def test_loop_steps_after_the_distinct_ones_repeat_the_last() -> None:
    torch.manual_seed(4)
    size = {"scale": 2, "width": 8, "own": 1, "depth": 1}
    short = models.create("loop", **size, iters=2)
    long = models.create("loop", **size, iters=3, distinct=2)
    long.load_state_dict(short.state_dict())  # no more weights
    x = torch.rand(1, 3, 9, 9)
    with torch.no_grad():
        assert torch.equal(long(x), short(x, iters=3))
        assert not torch.equal(long(x), short(x))
    assert (long.halo, short.halo) == (1 + 3 * 2 * 2, 1 + 2 * 2 * 2)
    assert long.config() == short.config() | {"iters": 3, "distinct": 2}
    assert models.create("loop", **size, iters=2, distinct=2).config() == short.config()
    with pytest.raises(UsageError, match="distinct is 3, expected 1 to 2"):
        models.create("loop", **size, iters=2, distinct=3)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lrn_begins_as_nearest_neighbours(scale: int) -> None:
    x = torch.rand(1, 3, 6, 5)
    with torch.no_grad():
        y = models.create("lrn", scale=scale)(x)
    expected = x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    np.testing.assert_allclose(y, expected, atol=1e-6)

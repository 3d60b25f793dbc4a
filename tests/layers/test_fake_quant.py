"""Layers on grids: what they compute, what they pass back, and how the grids are chosen."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from loopsr import models
from loopsr.errors import UsageError
from loopsr.layers import Conv, ConvReLU, fake_quant
from loopsr.layers.fake_quant import (
    LARGEST_WEIGHT,
    LEVELS,
    FakeQuantConv,
    FakeQuantised,
    best_grid,
    int8_weight,
    on_grid,
)

PARTS = ("widen", "narrow")
BOUND = 0.02  # root mean square to the plain network, in shares of white; 0.004 was seen


def network(**changes: Any) -> nn.Module:
    """A `loop` whose every step matters."""
    torch.manual_seed(0)
    config = {"scale": 2, "width": 8, "own": 0, "depth": 1, "iters": 3}
    made = models.create("loop", **config | changes)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if name.endswith("bias"):
                weight.add_(0.03 * torch.randn_like(weight))
            elif "narrow" in name or name == "tail.weight":  # they start near zero
                weight.mul_(3)
    return made


def pictures(count: int = 2, side: int = 24) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def integers() -> FakeQuantised:
    made = FakeQuantised(network())
    made.calibrate([pictures()])
    return made


def rms(difference: torch.Tensor) -> float:
    return float(difference.square().mean().sqrt())


def test_is_near_the_network_after_every_step(integers: FakeQuantised) -> None:
    x = pictures(1, 40)
    plain = network()
    with torch.no_grad():
        for exact, rounded in zip(plain.unroll(x), integers.unroll(x), strict=True):
            assert 0 < rms(exact - rounded) < BOUND
        for iters in (1, 2, 3, 4):  # the fourth is beyond the trained ones
            assert rms(plain(x, iters) - integers(x, iters)) < BOUND
        assert torch.equal(integers.plain()(x), plain(x))


def test_control_wrong_grids_are_noticed(integers: FakeQuantised) -> None:
    x = pictures(1, 40)
    with torch.no_grad():
        integers.layers()["cell.0.narrow"].out_step.sub_(3)  # an eighth of the range
        assert rms(network()(x) - integers(x)) > BOUND


def test_values_lie_on_their_grids(integers: FakeQuantised) -> None:
    made: list[tuple[FakeQuantConv, torch.Tensor, torch.Tensor]] = []
    for layer in integers.layers().values():
        layer.register_forward_hook(lambda m, i, o: made.append((m, i[0], o)))
    with torch.no_grad():
        integers(pictures())
    assert len(made) == 6
    first, second = integers.layers().values()
    for number, (layer, x, y) in enumerate(made):
        step, zero = layer.out_grid(number // 2)
        whole = y / step + zero
        assert torch.allclose(whole, whole.round(), atol=1e-3)
        assert whole.min() > -1e-3
        assert whole.max() < LEVELS + 1e-3
        assert (y.min() < 0 < y.max()) == (layer is second)  # no ReLU follows
        if layer is second:  # it reads what the first one gave, so it needs no grid of its own
            assert x is made[number - 1][2]
            assert layer.slots == [None] * 3
            assert layer.sources == [(first, 0), (first, 1), (first, 2)]
    assert first.out_zero is None
    assert first.slots == [0, 1, 2]  # what `look` gives
    for layer in (first, second):
        whole = layer.rounded_weight() / layer.weight_step().view(-1, 1, 1, 1)
        assert torch.allclose(whole, whole.round(), atol=1e-4)
        assert whole.abs().amax((1, 2, 3)).round().eq(LARGEST_WEIGHT).all()


def test_a_residual_stream_stays_in_floats_between_integers() -> None:
    """Of a unit `widen` and `narrow` are rounded, neither `look` nor the sums."""
    integers, x = FakeQuantised(network(own=1)), pictures(1, 40)
    integers.calibrate([pictures()])
    units = ("own.0.0", "own.1.0", "own.2.0", "cell.0")
    assert set(integers.layers()) == {f"{unit}.{part}" for unit in units for part in PARTS}
    with torch.no_grad():
        for exact, rounded in zip(network(own=1).unroll(x), integers.unroll(x), strict=True):
            assert 0 < rms(exact - rounded) < BOUND
        assert torch.equal(integers.plain()(x), network(own=1)(x))


def test_control_a_wrong_zero_is_noticed(integers: FakeQuantised) -> None:
    x = pictures(1, 40)
    zero = integers.layers()["cell.0.narrow"].out_zero
    assert zero is not None
    zero.zero_()  # nothing is negative any more
    with torch.no_grad():
        assert rms(network()(x) - integers(x)) > BOUND


def test_kernels_of_single_channels() -> None:
    """A depthwise kernel reads what another layer without a ReLU gave, whose zero is not 0."""
    torch.manual_seed(0)

    def made() -> nn.Module:
        return nn.Sequential(Conv(3, 6, 1), Conv(6, 6, 5, padding=2, groups=6), ConvReLU(6, 3, 1))

    plain = made()
    integers = FakeQuantised(copy.deepcopy(plain))
    x = pictures()
    layers = integers.layers()
    for layer in layers.values():
        layer.seen = {}
    with torch.no_grad():
        integers.network(x)
        for layer in layers.values():
            layer.settle()
            layer.seen, layer.run = None, 0
        assert layers["1"].in_grid(0) == layers["0"].out_grid(0)
        assert layers["1"].in_grid(0)[1] > 0
        assert 0 < rms(integers.network(x) - plain(x)) < BOUND
        assert torch.equal(integers.plain()(x), plain(x))


def test_no_sum_of_two_products_saturates_16_bits() -> None:
    assert 2 * LEVELS * LARGEST_WEIGHT < 2**15
    assert 2 * LEVELS * 127 > 2**15


def test_everything_learns(integers: FakeQuantised) -> None:
    target = torch.zeros(2, 3, 48, 48)
    sum((p - target).square().mean() for p in integers.unroll(pictures())).backward()
    for name, parameter in integers.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_training_wins_back_what_coarse_grids_lose() -> None:
    plain, x = network(), pictures(4)
    coarse = FakeQuantised(network())
    coarse.calibrate([x])
    with torch.no_grad():
        for layer in coarse.layers().values():
            layer.out_step.add_(3)
        target = plain(x)
    optimiser = torch.optim.Adam(coarse.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        loss = (coarse(x) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_state_and_facts_are_those_of_a_network(integers: FakeQuantised) -> None:
    again = FakeQuantised(network())
    again.load_state_dict(copy.deepcopy(integers.state_dict()))
    x = pictures()
    with torch.no_grad():
        assert torch.equal(again(x), integers(x))
    plain = network()
    facts = ("scale", "iters", "halo", "multiple_of")
    assert [getattr(again, f) for f in facts] == [getattr(plain, f) for f in facts]
    assert again.config() == plain.config()
    assert isinstance(again, models.Network)
    with pytest.raises(AttributeError, match="no_such"):
        _ = again.no_such


def test_the_best_grid() -> None:
    values = torch.cat([torch.linspace(0, 1, 100_000), torch.tensor([30.0])])
    step, zero = best_grid(values)
    full = on_grid(values, torch.tensor(30 / LEVELS))
    best = on_grid(values, torch.tensor(2.0**step))
    assert zero == 0
    assert (best - values).square().mean() < (full - values).square().mean()
    signed = torch.linspace(-1, 3, 1000)
    step, zero = best_grid(signed)
    assert rms(on_grid(signed, torch.tensor(2.0**step), zero) - signed) < 4 / LEVELS / 3
    assert 60 < zero < 68
    assert best_grid(torch.zeros(10))[0] >= -16  # of features that never occur


def test_a_bias_that_is_large_beside_its_weights_fits_32_bits() -> None:
    made = network()
    with torch.no_grad():
        made.get_submodule("cell.0.narrow").weight.mul_(1e-9)
        made.get_submodule("cell.0.widen").weight.mul_(1e-9)
        made.get_submodule("cell.0.widen").bias.zero_()
    integers = FakeQuantised(made)
    integers.calibrate([pictures()])
    layer = integers.layers()["cell.0.narrow"]
    sums = layer.bias / (layer.weight_step() * layer.in_grid(0)[0])
    assert sums.abs().max() < 2**31


def test_a_network_without_such_layers() -> None:
    with pytest.raises(UsageError, match="LRN has no layers"):
        FakeQuantised(models.create("lrn", scale=2))


def test_weights_of_the_rest_are_rounded_to_what_is_stored(integers: FakeQuantised) -> None:
    before = copy.deepcopy(integers.state_dict())
    for _ in "ab":  # the second time changes nothing
        integers.shorten()
        for name, value in integers.state_dict().items():
            if name.endswith(("head.weight", "tail.weight", "look.weight")):
                whole, step = int8_weight(before[name])
                assert torch.equal(value, whole * step), name
                assert torch.equal(whole, whole.round())
                assert whole.abs().amax((1, 2, 3)).eq(127).all()
                assert (value - before[name]).abs().max() <= 0.51 * step.max()
            else:
                assert torch.equal(value, before[name]), name
    assert fake_quant.LARGEST_WEIGHT == 64

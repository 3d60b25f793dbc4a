"""Units in one compiled kernel: the numbers of the plain ones, and a way on without a compiler."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from loopsr.layers import fused_unit
from loopsr.layers.fake_quant import FakeQuantised
from loopsr.layers.fused_unit import FusedUnit, fuse
from loopsr.layers.unit import Unit
from loopsr.models import create
from loopsr.train.distributed import World
from loopsr.train.objective import make_objective
from loopsr.train.recipe import LossSettings, Recipe

BOUND = 1e-5  # relative, of a whole tensor, to float64
# width, side of the kernel, shape: whole blocks of pixels and channels, and what is left of them
CASES = [
    (32, 5, (2, 32, 16, 24)),
    (32, 5, (3, 32, 7, 13)),
    (16, 3, (1, 16, 1, 1)),
    (48, 7, (2, 48, 9, 2)),
]
needs_compiler = pytest.mark.skipif(fused_unit._compiler() is None, reason="needs a C++ compiler")


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder without kernels, and none in memory."""
    monkeypatch.setenv("LOOPSR_CACHE", str(tmp_path))
    fused_unit._kernel.cache_clear()
    yield tmp_path
    fused_unit._kernel.cache_clear()


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def unit(width: int, side: int) -> Unit:
    torch.manual_seed(0)
    fresh = Unit(width, kernel=side, expansion=2)
    for parameter in fresh.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return fresh


def numbers(module: nn.Module, shape: tuple[int, ...]) -> list[Tensor]:
    """The output, and the gradients of the input and of all weights."""
    torch.manual_seed(1)
    dtype = next(module.parameters()).dtype
    x = torch.randn(shape).to(dtype).requires_grad_()
    module.zero_grad()
    y = module(x)
    y.backward(torch.randn(shape).to(dtype))
    assert x.grad is not None
    return [y.detach(), x.grad, *(p.grad.clone() for p in module.parameters())]


def worst(found: list[Tensor], expected: list[Tensor]) -> float:
    pairs = zip(found, expected, strict=True)
    return max(float((a - b).norm() / b.norm()) for a, b in pairs)


@needs_compiler
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("width", "side", "shape"), CASES)
def test_the_kernel_computes_what_a_unit_does(
    width: int, side: int, shape: tuple[int, ...], count: int, threads: None
) -> None:
    torch.set_num_threads(count)
    plain = unit(width, side)
    fused = copy.deepcopy(plain)
    assert fuse(fused) == 1
    assert isinstance(fused, FusedUnit)
    expected = numbers(copy.deepcopy(plain).double(), shape)
    found = numbers(fused, shape)
    assert worst(found, expected) <= BOUND
    assert all(map(torch.equal, found, numbers(fused, shape)))  # the same bits again


@needs_compiler
def test_control_taps_in_another_order_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = unit(32, 5)
    fused = copy.deepcopy(plain)
    fuse(fused)
    taps = fused_unit._taps
    monkeypatch.setattr(fused_unit, "_taps", lambda look: taps(look).flip(0))
    shape = CASES[0][2]
    assert worst(numbers(fused, shape), numbers(plain.double(), shape)) > 100 * BOUND


@needs_compiler
def test_a_network_keeps_its_weights_and_is_measured_as_it_is() -> None:
    network = create("loop", scale=2, iters=2)
    names = list(network.state_dict())
    x = torch.rand(1, 3, 8, 8)
    before = network(x)
    assert fuse(network) == 10
    assert list(network.state_dict()) == names
    assert torch.allclose(network(x), before, atol=1e-5)
    network.eval()
    assert torch.equal(network(x), before)
    copied = copy.deepcopy(network).modules()
    assert sum(isinstance(part, FusedUnit) for part in copied) == 10


def test_other_units_stay_as_they_are() -> None:
    assert fuse(create("loop", scale=2, width=24)) == 0
    assert fuse(create("lrn", scale=2)) == 0
    assert fuse(FakeQuantised(create("loop", scale=2))) == 0


@needs_compiler
def test_compiled_once(empty_cache: Path) -> None:
    fuse(unit(16, 3))
    (kept,) = (empty_cache / "kernels").iterdir()
    changed = kept.stat().st_mtime_ns
    fused_unit._kernel.cache_clear()
    fuse(unit(16, 3))
    assert [p.stat().st_mtime_ns for p in (empty_cache / "kernels").iterdir()] == [changed]


@pytest.mark.parametrize("compiler", [None, "/bin/false", "/no/such/compiler"])
def test_without_a_compiler_the_units_are_computed_as_they_are(
    compiler: str | None,
    empty_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    if compiler:
        monkeypatch.setenv("CXX", compiler)
    network = create("loop", scale=2, width=16, own=0, depth=1, iters=1)
    recipe = Recipe(name="x", network="loop", scale=2, loss=LossSettings())
    with caplog.at_level(logging.INFO, "loopsr"):
        module = make_objective(
            network, recipe, world=World(place=torch.device("cpu")), compiled=None
        )
    assert "the units were not compiled (" in caplog.text
    assert "\n" not in caplog.messages[-1]
    assert not any(isinstance(part, FusedUnit) for part in network.modules())
    loss = module(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 16, 16), None)
    assert torch.isfinite(loss)
    assert not list(empty_cache.rglob("*.so"))

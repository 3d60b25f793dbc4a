"""The compiled step: one graph without gaps, the same numbers, and a way on when it fails."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from loopsr.errors import UsageError
from loopsr.models import NETWORKS, create
from loopsr.train import objective
from loopsr.train.device import find_device
from loopsr.train.distributed import World
from loopsr.train.loop import CHECKPOINT, train
from loopsr.train.objective import Objective, make_objective
from loopsr.train.recipe import LossSettings, OptimSettings, Recipe

RECIPE = Recipe(
    name="loop-x2",
    network="loop",
    network_config={"width": 4, "own": 1, "depth": 1, "iters": 2},
    scale=2,
    loss=LossSettings(luma=1.0, supervision=(0.3, 1.0)),
    # At the full rate Muon would make large steps of the last bits of small gradients.
    optim=OptimSettings(learning_rate=1e-3),
    steps=4,
    batch=2,
    patch=8,
)
WORLD = World(place=torch.device("cpu"))


def gradients(module: nn.Module, iters: int | None) -> list[Tensor]:
    torch.manual_seed(0)
    lr, hr = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 16, 16)
    module.zero_grad()
    loss = module(lr, hr, iters)
    loss.backward()
    found = [p.grad.clone() for p in module.parameters() if p.grad is not None]
    return [loss.detach(), *found]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_is_one_graph_with_the_same_gradients(name: str) -> None:
    torch.manual_seed(0)
    module = Objective(create(name, scale=2, iters=2), RECIPE.loss)
    graph = torch.compile(module, backend="aot_eager", fullgraph=True, dynamic=False)
    for iters in (1, None):
        expected = gradients(module, iters)
        got = gradients(graph, iters)
        assert len(got) == len(expected)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(got, expected, strict=True))
    torch.compiler.reset()


def compile_with(monkeypatch: pytest.MonkeyPatch, backend: str | Callable[..., Any]) -> None:
    original = torch.compile
    monkeypatch.setattr(
        objective.torch, "compile", lambda module, **o: original(module, backend=backend, **o)
    )


def test_a_compiled_run_ends_in_the_same_weights(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = train(RECIPE, hr=[pictures], out=tmp_path / "a", threads=1, device="cpu")
    compile_with(monkeypatch, "aot_eager")
    options = {"compiled": True, "resident": True}
    fast = train(RECIPE, hr=[pictures], out=tmp_path / "b", threads=1, device="cpu", **options)
    assert (tmp_path / "b" / CHECKPOINT).is_file()
    one, two = plain.network.state_dict(), fast.network.state_dict()
    assert one.keys() == two.keys()
    assert all(torch.allclose(one[key], two[key], atol=1e-5) for key in one)
    torch.compiler.reset()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_captured_run_ends_in_the_same_weights(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = dataclasses.replace(RECIPE, steps=20, precision="float32", beyond=2)
    runs = {}
    for name, compiled in (("plain", False), ("captured", True)):
        with caplog.at_level(logging.INFO, "loopsr"):
            done = train(recipe, hr=[pictures], out=tmp_path / name, compiled=compiled)
        runs[name] = done.network.state_dict()
        assert ("captured the step" in caplog.text) == compiled
    gaps = [(runs["plain"][key] - runs["captured"][key]).abs().max() for key in runs["plain"]]
    assert max(map(float, gaps)) < 1e-3  # other kernels, in TF32


def test_a_compiler_that_fails_is_done_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: object) -> Any:
        raise ValueError("no compiler here\nand a long trace")

    compile_with(monkeypatch, broken)
    network = create("loop", scale=2, width=4, own=1, depth=1, iters=2)
    with caplog.at_level(logging.INFO, "loopsr"):
        module = make_objective(network, RECIPE, world=WORLD, compiled=True)
    assert type(module) is Objective
    assert "torch.compile failed" in caplog.text
    assert "no compiler here" in caplog.text
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.isfinite(gradients(module, None)[0])
    torch.compiler.reset()


def test_a_gpu_that_is_not_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    assert find_device("auto") == torch.device("cpu")
    with pytest.raises(UsageError, match="no CUDA device here; pass --device cpu"):
        find_device("cuda")
    with pytest.raises(UsageError, match="device 'gpu' is unknown"):
        find_device("gpu")

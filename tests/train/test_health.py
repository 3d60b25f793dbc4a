"""Channels that have died are counted, and said."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from loopsr.layers.fake_quant import FakeQuantised
from loopsr.models import create
from loopsr.recipes import find_recipe
from loopsr.train.checkpoint import save_tensors
from loopsr.train.health import revive, watch_channels
from loopsr.train.loop import train
from loopsr.train.recipe import Recipe
from loopsr.train.validate import Pixels, to_tensor

SMALL = {"width": 8, "own": 1, "depth": 1, "iters": 2}


def dying(channels: int) -> torch.nn.Module:
    """A network of 2 steps of 2 units, the shared one with this many dead channels of its 16."""
    torch.manual_seed(0)
    network = create("loop", scale=2, **SMALL)
    with torch.no_grad():
        for unit in (network.own[0][0], network.own[1][0], network.cell[0]):
            unit.widen.bias.fill_(5)
        network.cell[0].widen.bias[:channels] = -50
        network.cell[0].widen.weight[:channels] = 0
    return network


def one_step(weights: Path) -> Recipe:
    """A run of one step of the network of ``dying`` that begins from a file."""
    return dataclasses.replace(
        find_recipe("loop_xs_x2"),
        network_config=SMALL,
        steps=1,
        batch=1,
        patch=8,
        warm_start=str(weights),
    )


def silent_channels(network: torch.nn.Module, pictures: list[Pixels]) -> tuple[int, int]:
    with watch_channels(network) as watched, torch.no_grad():
        for picture in pictures:
            network(to_tensor(picture[None]))
    return watched()


def test_every_run_of_a_layer_counts() -> None:
    pictures = [np.full((6, 7, 3), 90, np.uint8), np.full((4, 4, 3), 200, np.uint8)]
    assert silent_channels(dying(0), pictures) == (0, 4 * 16)
    assert silent_channels(dying(3), pictures) == (2 * 3, 4 * 16)
    assert silent_channels(create("lrn", scale=2), pictures) == (0, 0)


def test_only_what_a_relu_follows_counts() -> None:
    network = create("loop", scale=2, width=4, own=1, depth=1, iters=2)
    for layers in (network, FakeQuantised(network)):
        with torch.no_grad():
            network.cell[0].narrow.bias.fill_(-50)
        assert silent_channels(layers, [np.full((6, 7, 3), 90, np.uint8)])[1] == 4 * 2 * 4


def test_one_picture_that_excites_a_channel_is_enough() -> None:
    network = dying(0)
    with torch.no_grad():
        network.head.weight.fill_(1)
        widen = network.own[0][0].widen
        widen.weight.fill_(0)
        widen.weight[0] = 1  # bright pictures get through, dark ones do not
        widen.bias[0] = -30
    dark, bright = (np.full((6, 6, 3), level, np.uint8) for level in (1, 255))
    assert silent_channels(network, [dark])[0] == 1
    assert silent_channels(network, [dark, bright])[0] == 0


def test_a_dead_network_is_said_in_log_and_warning(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_tensors(tmp_path / "dead.safetensors", dying(14).state_dict(), {})
    recipe = one_step(tmp_path / "dead.safetensors")
    with caplog.at_level(logging.WARNING, "loopsr"):
        train(recipe, hr=[pictures], out=tmp_path / "run", threads=1, device="cpu", compiled=False)
    assert json.loads((tmp_path / "run" / "log.jsonl").read_text())["silent"] == 28
    assert "28 of 64 channels are zero" in caplog.text
    caplog.clear()
    save_tensors(tmp_path / "dead.safetensors", dying(1).state_dict(), {})
    train(recipe, hr=[pictures], out=tmp_path / "well", threads=1, device="cpu", compiled=False)
    assert "channels are zero" not in caplog.text


def test_dead_channels_begin_anew_and_no_other() -> None:
    network, fresh = dying(3), create("loop", scale=2, **SMALL)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    pictures = [np.full((6, 7, 3), 90, np.uint8)]
    assert revive(network, fresh, [to_tensor(picture[None]) for picture in pictures]) == 3
    for key, value in network.state_dict().items():
        dead = 3 if key.startswith("cell.0.widen") else 0
        assert torch.equal(value[:dead], fresh.state_dict()[key][:dead])
        assert torch.equal(value[dead:], before[key][dead:])
    assert silent_channels(network, pictures)[0] < 2 * 3
    # What lives is left alone.
    assert revive(dying(0), fresh, [to_tensor(pictures[0][None])]) == 0


def test_a_run_revives_what_it_begins_from(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_tensors(tmp_path / "dead.safetensors", dying(14).state_dict(), {})
    recipe = dataclasses.replace(one_step(tmp_path / "dead.safetensors"), revive=True)
    with caplog.at_level(logging.INFO, "loopsr"):
        train(recipe, hr=[pictures], out=tmp_path / "run", threads=1, device="cpu", compiled=False)
    assert "14 channels that nothing excited begin anew" in caplog.text
    assert json.loads((tmp_path / "run" / "log.jsonl").read_text())["silent"] < 28

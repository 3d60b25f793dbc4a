"""The weights that ship, step by step: each one pays, and one too many does no harm."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

import loopsr.apps
from loopsr.data.sources import read_rgb
from loopsr.metrics.psnr import psnr_y
from loopsr.models import create
from loopsr.ops.resize import resize
from loopsr.train.checkpoint import load_tensors
from loopsr.train.evaluate import crop_to_multiple
from loopsr.train.validate import to_pixels, to_tensor
from loopsr.weights import catalogue

PHOTOGRAPH = Path(loopsr.apps.__file__).parent / "assets" / "osprey.png"
SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "valid" / "cid22"
MOST_FALL = 0.03  # dB, of a step more than trained; Set5 moves as much from run to run


def grows(scores: list[float]) -> bool:
    """Whether every trained step is better than the one before, and the one beyond no worse.

    A run a quarter longer is to be as good. With three steps one more is a third; with two it is a
    half, and only has to stay above the step before the last.
    """
    *trained, beyond = scores
    rising = all(a < b for a, b in itertools.pairwise(trained))
    least = trained[-1] - MOST_FALL if len(trained) > 2 else trained[-2]
    return rising and beyond > least


@cache
def pictures() -> list[np.ndarray[Any, Any]]:
    """The demo's photograph, and some validation pictures where they are."""
    found = sorted(SHARED.glob("*.*"))[::6] if SHARED.is_dir() else []
    return [read_rgb(path)[:384, :384] for path in (PHOTOGRAPH, *found)]


def scores(network: Any) -> list[float]:
    """Mean PSNR-Y after every step, and one more."""
    means = []
    for iters in range(1, network.iters + 2):
        values = []
        for picture in pictures():
            hr = crop_to_multiple(picture, network.scale)
            lr = resize(hr, scale=1 / network.scale).astype(np.uint8, copy=False)
            with torch.no_grad():
                sr = network(to_tensor(lr[None]), iters)
            values.append(psnr_y(to_pixels(sr), hr, border=network.scale))
        means.append(float(np.mean(values)))
    return means


def stepwise() -> list[str]:
    """Models whose steps have weights of their own, in float32."""
    cards = {name: catalogue.card(name) for name in catalogue.names()}
    plain = {n: c for n, c in cards.items() if c.degradation == "bicubic" and "int8" not in n}
    return [name for name, card in plain.items() if cast(int, card.config.get("own", 0)) > 0]


def load(name: str) -> torch.nn.Module:
    card = catalogue.card(name)
    network = create(card.network, **card.config)
    network.load_state_dict(load_tensors(catalogue.safetensors_path(name))[0])
    return network.eval()


@pytest.mark.parametrize("name", stepwise())
def test_every_step_pays_and_one_more_does_no_harm(name: str) -> None:
    found = scores(load(name))
    assert grows(found), found


def test_control_a_step_that_spoils_is_noticed() -> None:
    network: Any = load(stepwise()[0])
    with torch.no_grad():
        for unit in network.own[-1]:
            unit.narrow.weight.mul_(-1)
    assert not grows(scores(network))


def test_control_what_counts_as_growth() -> None:
    assert grows([30.0, 31.0, 31.1, 31.08])
    assert not grows([30.0, 30.0, 31.1, 31.1])
    assert not grows([30.0, 31.0, 31.1, 31.06])
    assert grows([30.0, 31.0, 30.9])
    assert not grows([30.0, 31.0, 29.9])

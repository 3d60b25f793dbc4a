"""The exponential moving average of the weights: what is validated, and what ships."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]


def start(network: nn.Module) -> Weights:
    """An average over the weights that there are now."""
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


@torch.no_grad()
def update(ema: Weights, network: nn.Module, *, step: int, most: float) -> None:
    """Take in the weights after ``step`` steps; short at first, to forget the fresh ones soon."""
    decay = min(most, (1 + step) / (10 + step))
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            ema[key].lerp_(value, 1 - decay)
        else:
            ema[key].copy_(value)


@contextlib.contextmanager
def weights_of(network: nn.Module, ema: Weights) -> Iterator[None]:
    """The network with the averaged weights, for the time of a ``with`` block."""
    own = {key: value.clone() for key, value in network.state_dict().items()}
    network.load_state_dict(ema)
    network.eval()
    try:
        yield
    finally:
        network.load_state_dict(own)
        network.train()

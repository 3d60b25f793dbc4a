"""The exponential moving average of the weights: what is validated, and what ships.

With ``warm_share``, what ships is the mean of that and of the weights that the run began from.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]


def start(network: nn.Module) -> Weights:
    """An average over the weights that there are now."""
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


def share(step: int, most: float) -> float:
    """How much the average takes of the weights after ``step`` steps: at least 1 - ``most``.

    More at first, to forget the fresh ones soon.
    """
    return 1 - min(most, (1 + step) / (10 + step))


@torch.no_grad()
def update(ema: Weights, network: nn.Module, share: float | Tensor) -> None:
    """Take in a ``share`` of the network's weights."""
    own, other = [], []
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            own.append(ema[key])
            other.append(value)
        else:
            ema[key].copy_(value)
    # All tensors at once: on a GPU there are too many to start a kernel for each.
    gaps = torch._foreach_sub(other, own)
    torch._foreach_mul_(gaps, share)
    torch._foreach_add_(own, gaps)


def shipped(ema: Weights, warm: Weights, share: float) -> Weights:
    """The averaged weights, or with ``share`` > 0 their mean with those of the warm start."""
    if not share:
        return ema
    return {key: torch.lerp(value, warm[key], share) for key, value in ema.items()}


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

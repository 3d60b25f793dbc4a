"""Losses by name, and supervision of several steps of the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import torch
from torch import Tensor, nn

from loopsr.errors import UnknownNameError, UsageError
from loopsr.train.recipe import LossSettings


def l1(difference: Tensor) -> Tensor:
    """Mean of the absolute difference."""
    return difference.abs().mean()


def charbonnier(difference: Tensor) -> Tensor:
    """L1, smooth near zero (epsilon 1e-3; Lai et al. 2017)."""
    return torch.sqrt(difference * difference + 1e-6).mean()


def mse(difference: Tensor) -> Tensor:
    """Mean of the squared difference."""
    return (difference * difference).mean()


def psnr(difference: Tensor) -> Tensor:
    """A tenth of the log of each picture's mean squared error: its PSNR but for a factor.

    The benchmarks average PSNR over pictures, so that a smooth picture counts as much as a busy
    one (Chen et al., arXiv 2204.04676). Below 50 dB only: flat crops would drown the rest.
    """
    return 0.1 * torch.log(difference.square().flatten(1).mean(1) + 1e-5).mean()


# name -> (output - target, b3hw in [0, 1]) -> scalar
LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "charbonnier": charbonnier,
    "l1": l1,
    "mse": mse,
    "psnr": psnr,
}


def luma(difference: Tensor) -> Tensor:
    """MATLAB's luma of a b3hw difference, bhw: the same scale, a little smaller range."""
    weights = difference.new_tensor((65.481, 128.553, 24.966)).view(1, 3, 1, 1) / 255
    return (difference * weights).sum(1)


def picture_loss(output: Tensor, target: Tensor, settings: LossSettings) -> Tensor:
    """The loss of one picture b3hw, in float32. Raises ``UnknownNameError``."""
    if settings.name not in LOSSES:
        raise UnknownNameError("loss", settings.name, LOSSES)
    difference = output.float() - target
    measure = LOSSES[settings.name]
    loss = measure(difference)
    return loss + settings.luma * measure(luma(difference)) if settings.luma else loss


def total_loss(
    network: nn.Module,
    lr: Tensor,
    hr: Tensor,
    settings: LossSettings,
    *,
    iters: int | None = None,
) -> Tensor:
    """Run the network and weigh the losses of its last steps by ``settings.supervision``.

    ``iters`` overrides the network's number of steps; steps that do not run weigh nothing.
    """
    weights = settings.supervision
    if len(weights) == 1 or iters == 1:
        return weights[-1] * picture_loss(network(lr, iters), hr, settings)
    unroll = cast(Callable[..., Iterator[Tensor]], network.unroll)
    pictures = list(unroll(lr, iters))
    if len(pictures) < len(weights):
        raise UsageError(
            f"loss.supervision has {len(weights)} weights, the network takes {len(pictures)} "
            "steps; pass at most one weight a step"
        )
    used = zip(reversed(pictures), reversed(weights), strict=False)
    terms = [weight * picture_loss(picture, hr, settings) for picture, weight in used if weight]
    return torch.stack(terms).sum()

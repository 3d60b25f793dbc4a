"""Whether a network has died in part: channels that no picture excites learn nothing any more."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from loopsr.layers import ConvReLU
from loopsr.train.validate import Pixels, to_tensor


@torch.no_grad()
def silent_channels(network: nn.Module, pictures: Iterable[Pixels]) -> tuple[int, int]:
    """How many channels after a ReLU are zero in all of the (h, w, 3) pictures, and of how many.

    Counts ``ConvReLU`` layers, each as often as it runs. A ReLU whose input is below zero for every
    picture has no gradient: large steps of the optimiser can leave a layer with a channel or two.
    """
    excited: dict[int, Tensor] = {}
    call = 0

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal call
        excited[call] = excited.get(call, torch.tensor(False)) | (output.amax((0, 2, 3)) > 0).cpu()
        call += 1

    layers = [module for module in network.modules() if isinstance(module, ConvReLU)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    device = next(network.parameters()).device
    try:
        for picture in pictures:
            call = 0
            network(to_tensor(np.array(picture[None])).to(device))
    finally:
        for hook in hooks:
            hook.remove()
    alive = sum(int(channels.sum()) for channels in excited.values())
    total = sum(channels.numel() for channels in excited.values())
    return total - alive, total

"""The figure that a run is judged by while it runs: mean PSNR on luma of whole pictures."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from loopsr.errors import TrainingError
from loopsr.metrics.psnr import psnr_y
from loopsr.train.resident import to_unit

Pixels = NDArray[np.uint8]


def to_tensor(pixels: Pixels) -> Tensor:
    """(n, h, w, 3) uint8 as n3hw float32 in [0, 1], channels last in memory."""
    return to_unit(torch.from_numpy(pixels))


def to_pixels(tensor: Tensor) -> Pixels:
    """13hw in [0, 1] as (h, w, 3) uint8, clamped and rounded."""
    levels = tensor[0].float().clamp(0, 1).mul(255).round().permute(1, 2, 0)
    return levels.cpu().numpy().astype(np.uint8)


@torch.no_grad()
def validate(network: nn.Module, pairs: Iterable[tuple[Pixels, Pixels]], *, scale: int) -> float:
    """Mean PSNR-Y over (lr, hr) pictures of 0..255, a border of ``scale`` cut.

    Raises ``TrainingError`` when the network makes numbers that are none.
    """
    device = next(network.parameters()).device
    scores = []
    for lr, hr in pairs:
        output = network(to_tensor(np.array(lr[None])).to(device))
        if not output.isfinite().all():
            raise TrainingError(
                "the network makes values that are not finite; start anew in another --out folder "
                "with a lower --set optim.learning_rate"
            )
        scores.append(psnr_y(to_pixels(output), hr, border=scale))
    return float(np.mean(scores))

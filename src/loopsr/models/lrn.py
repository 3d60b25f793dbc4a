"""LRN, the network this project began with.

Hossain, Rahman, Amin, Ali: "Lightweight Recurrent Neural Network for Image Super-Resolution",
ICIP 2024. An encoder of two convolutions, one convolution applied ``iters`` times with the same
weights, a decoder of transposed convolutions. Parameters at x2, x3, x4: 57,175, 58,135, 65,015.

Differs from the authors' code in nothing but the first weights. PyTorch's default shrinks the
signal in every step of the loop, and with He's the network first has to learn to copy its input
through 12 convolutions (24 dB after 1,000 steps, see docs/log.md). Here it begins as a copy,
nearest neighbours, with the channels that do not carry the picture at He's size.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loopsr.errors import UsageError

_ITERS = {2: 12, 3: 6, 4: 8}
_WIDTH = 64


class LRN(nn.Module):
    """Encoder, one recurrent convolution, decoder; b3hw in [0, 1] to b3(sh)(sw)."""

    multiple_of = 1

    def __init__(self, *, scale: int, iters: int | None = None) -> None:
        """Build for ``scale`` 2, 3 or 4; ``iters`` defaults to 12, 6, 8 as in the authors' code."""
        super().__init__()
        if scale not in _ITERS:
            raise UsageError(f"lrn knows scale 2, 3 and 4, got {scale}; pass one of these")
        self.scale = scale
        self.iters = _ITERS[scale] if iters is None else iters
        if self.iters < 1:
            raise UsageError(f"iters is {self.iters}, at least 1 was expected")
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, _WIDTH, 3, padding=1),
            nn.ReLU(),
        )
        self.block = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1)
        widths = (_WIDTH, 32, 3) if scale == 4 else (_WIDTH, 3)
        stride = 2 if scale == 4 else scale
        self.decoder = nn.ModuleList(
            nn.ConvTranspose2d(a, b, stride, stride) for a, b in pairwise(widths)
        )
        self.last = nn.Conv2d(3, 3, 3, padding=1)
        self._begin_as_a_copy()

    @torch.no_grad()
    def _begin_as_a_copy(self) -> None:
        for layer in (self.encoder[0], self.encoder[2], self.block, *self.decoder, self.last):
            assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
            assert layer.bias is not None
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
            for channel in range(_WIDTH if layer is self.block else 3):
                if isinstance(layer, nn.ConvTranspose2d):
                    layer.weight[:, channel] = 0
                    layer.weight[channel, channel] = 1
                else:
                    layer.weight[channel] = 0
                    layer.weight[channel, channel, 1, 1] = 1

    @property
    def halo(self) -> int:
        """Input pixels of context: encoder 2, one an iteration, 1 for the last 3x3."""
        return 2 + self.iters + 1

    def config(self) -> dict[str, Any]:
        """Arguments that build this network again."""
        return {"scale": self.scale, "iters": self.iters}

    def _decode(self, features: Tensor) -> Tensor:
        for layer in self.decoder:
            features = F.relu(layer(features))
        image: Tensor = self.last(features)
        return image

    def forward(self, x: Tensor, iters: int | None = None) -> Tensor:
        """Upscale b3hw in [0, 1] to b3(sh)(sw); the output is not clamped."""
        features = self.encoder(x)
        for _ in range(self.iters if iters is None else iters):
            features = F.relu(self.block(features))
        return self._decode(features)

    def unroll(self, x: Tensor, iters: int | None = None) -> Iterator[Tensor]:
        """Yield the picture after each step."""
        features = self.encoder(x)
        for _ in range(self.iters if iters is None else iters):
            features = F.relu(self.block(features))
            yield self._decode(features)

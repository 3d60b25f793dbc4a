"""The few torch blocks that several networks share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Conv(nn.Conv2d):
    """A convolution that may be computed in 8-bit integers (``fake_quant``)."""

    relu = False  # whether a ReLU follows, as part of the layer

    def forward(self, x: Tensor) -> Tensor:
        """The features b(out)hw; with a ReLU nowhere negative."""
        y = super().forward(x)
        return F.relu(y) if self.relu else y


class ConvReLU(Conv):
    """A convolution and a ReLU, likewise."""

    relu = True

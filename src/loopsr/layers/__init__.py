"""The few torch blocks that several networks share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ConvReLU(nn.Conv2d):
    """A convolution and a ReLU: what can be computed in 8-bit integers (``fake_quant``)."""

    def forward(self, x: Tensor) -> Tensor:
        """The features b(out)hw, nowhere negative."""
        return F.relu(super().forward(x))

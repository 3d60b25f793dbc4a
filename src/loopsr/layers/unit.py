"""The residual unit that ``loop`` is a loop of."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from loopsr.layers import Conv, ConvReLU


class Unit(nn.Module):
    """What one unit adds to the features b(width)hw, and they themselves.

    x + narrow(relu(widen(look(x)))): a depthwise kernel and two 1x1 ones, as in ConvNeXt (Liu et
    al., arXiv 2201.03545) without its norm.
    """

    def __init__(self, width: int, *, kernel: int, expansion: int) -> None:
        """Build with fresh weights that add little, of places close by."""
        super().__init__()
        self.look = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.widen = ConvReLU(width, expansion * width, 1)
        self.narrow = Conv(expansion * width, width, 1)
        nn.init.normal_(self.look.weight, std=0.05)
        self.look.weight.data[..., kernel // 2, kernel // 2] += 1
        for matrix, size in ((self.widen, 0.7), (self.narrow, 0.1)):
            nn.init.kaiming_normal_(matrix.weight)
            matrix.weight.data *= size
        for layer in (self.look, self.widen, self.narrow):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """The features after this unit, of the same shape."""
        return cast(Tensor, x + self.narrow(self.widen(self.look(x))))

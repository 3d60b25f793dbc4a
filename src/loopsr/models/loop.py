"""Loop, the network of this project: a small cell of weights, applied again and again.

    f_0     = head(x)                                         3x3, 3 -> width
    f_1     = cell_1(f_0)
    f_{t+1} = keep_t * f_t + gain_t * cell_{t+1}(f_t + recall_t * f_0)
    image_t = shuffle(tail(f_t + f_0)) + bilinear(x)          1x1, width -> 3 scale^2

A cell is a chain of 3x3 convolutions, each with a ReLU: first ``own`` ones, which only this step
has, then ``depth`` ones that all steps share. ``keep``, ``gain`` and ``recall`` are a number a
channel and step. Steps that are alike to the last weight bring nothing to a network of this size;
a few weights of their own let them grow on each other (docs/log.md has the runs). Recall of the
input's features follows SRFBN (Li et al., arXiv 1903.09814), the residual over an interpolated
input VDSR (Kim et al., arXiv 1511.04587). The tail is 1x1: ESPCN's 3x3 (Shi et al., arXiv
1609.05158) would take as many weights as one and a half convolutions of the cell at x4, and those
see further.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loopsr.errors import UsageError
from loopsr.layers import ConvReLU


class Loop(nn.Module):
    """Head, recurrent cell, sub-pixel tail over a bilinear input; b3hw [0, 1] to b3(sh)(sw)."""

    multiple_of = 1

    def __init__(
        self,
        *,
        scale: int,
        width: int = 32,
        own: int = 0,
        depth: int = 7,
        iters: int = 2,
        tail: int = 1,
    ) -> None:
        """Build with fresh weights.

        ``width`` is in channels, ``own`` and ``depth`` count the convolutions of a step that it
        has alone and that it shares, ``iters`` the steps, ``tail`` is the side of the last kernel.
        Raises ``UsageError`` for a number below 1 (``own``: below 0), an even ``tail`` or a scale
        outside 2 to 4.
        """
        super().__init__()
        if scale not in (2, 3, 4):
            raise UsageError(f"loop knows scale 2, 3 and 4, got {scale}; pass one of these")
        if min(width, depth, iters, own + 1) < 1:
            raise UsageError(
                f"width {width}, own {own}, depth {depth}, iters {iters}: "
                "each must be at least 1, own at least 0"
            )
        if tail < 1 or tail % 2 == 0:
            raise UsageError(f"tail is {tail}, an odd side was expected; pass 1 or 3")
        self.scale = scale
        self.iters = iters
        self._width = width
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.own = nn.ModuleList(_convolutions(width, own) for _ in range(iters))
        self.cell = _convolutions(width, depth)
        self.tail = nn.Conv2d(width, 3 * scale**2, tail, padding=tail // 2)
        # A step without weights of its own starts as the identity, so that a trained network can
        # grow by it; one with its own has to learn from the start.
        start = 1.0 if own else 0.0
        self.keep = nn.Parameter(torch.ones(iters - 1, width))
        self.gain = nn.Parameter(torch.full((iters - 1, width), start))
        self.recall = nn.Parameter(torch.full((iters - 1, width), start))
        self._initialise()

    def _initialise(self) -> None:
        # A little under He's size: Muon turns small weights faster, which 1,000-step runs showed to
        # be worth 0.1 dB. The tail starts near zero, so that the first picture is the bilinear one.
        sizes = {self.head: 1.0, self.tail: 0.1} | dict.fromkeys(self._hidden(), 0.7)
        for layer, size in sizes.items():
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            layer.weight.data *= size
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def _hidden(self) -> list[nn.Conv2d]:
        chains = (*self.own, self.cell)
        return [layer for chain in chains for layer in cast(Iterable[nn.Conv2d], chain)]

    def _chain(self, step: int) -> Iterator[nn.Conv2d]:
        """The convolutions of step 0, 1, ...; beyond the trained ones those of the last."""
        own = self.own[min(step, self.iters - 1)]
        yield from cast(Iterable[nn.Conv2d], own)
        yield from cast(Iterable[nn.Conv2d], self.cell)

    @property
    def halo(self) -> int:
        """Input pixels of context: head, tail, and the chain of every step."""
        chains = sum(len(list(self._chain(step))) for step in range(self.iters))
        return 1 + self.tail.kernel_size[0] // 2 + chains

    def config(self) -> dict[str, Any]:
        """Arguments that build this network again."""
        return {
            "scale": self.scale,
            "width": self._width,
            "own": len(self._hidden()[: -len(self.cell)]) // self.iters,
            "depth": len(self.cell),
            "iters": self.iters,
            "tail": self.tail.kernel_size[0],
        }

    def hidden_weights(self) -> list[nn.Parameter]:
        """The matrices inside the network, for optimisers that treat them apart (Muon)."""
        return [cast(nn.Parameter, layer.weight) for layer in self._hidden()]

    def _run_cell(self, features: Tensor, step: int) -> Tensor:
        for layer in self._chain(step):
            features = layer(features)
        return features

    def _steps(self, first: Tensor, iters: int | None) -> Iterator[Tensor]:
        steps = self.iters if iters is None else iters
        if steps < 1 or (steps > 1 and self.iters == 1):
            raise UsageError(f"iters is {steps}, this network was trained for {self.iters}")
        state = self._run_cell(first, 0)
        yield state
        for step in range(1, steps):
            # Steps beyond the trained ones repeat the last one's scales.
            t = min(step, self.iters - 1) - 1
            keep, gain, recall = (
                scales[t].view(1, -1, 1, 1) for scales in (self.keep, self.gain, self.recall)
            )
            state = keep * state + gain * self._run_cell(state + recall * first, step)
            yield state

    def _base(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)

    def _detail(self, features: Tensor) -> Tensor:
        return F.pixel_shuffle(self.tail(features), self.scale)

    def forward(self, x: Tensor, iters: int | None = None) -> Tensor:
        """Upscale b3hw in [0, 1] to b3(sh)(sw); the output is not clamped."""
        first = self.head(x)
        *_, state = self._steps(first, iters)
        return self._detail(state + first) + self._base(x)

    def unroll(self, x: Tensor, iters: int | None = None) -> Iterator[Tensor]:
        """Yield the picture after each step."""
        first = self.head(x)
        base = self._base(x)
        for state in self._steps(first, iters):
            yield self._detail(state + first) + base


def _convolutions(width: int, count: int) -> nn.ModuleList:
    return nn.ModuleList(ConvReLU(width, width, 3, padding=1) for _ in range(count))

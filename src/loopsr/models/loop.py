"""Loop, the network of this project: a residual stream that a loop of units adds to.

    f     = head(x)                                               3x3, 3 -> width
    f     = f + narrow(relu(widen(look(f))))                      each unit of step t = 1, 2, ...
    image_t = shuffle(tail(f)) + bilinear(x)                      1x1, width -> 3 scale^2

A step is a chain of units: first ``own`` ones, which only this step has, then ``depth`` ones that
all steps share. Steps after the first ``distinct`` ones run the own units of the last of these. In
a unit (``layers.unit``) a depthwise kernel looks around, two 1x1 ones widen and narrow. For the
weights of one dense 3x3 convolution there are almost two units, each of which sees twice as far
(docs/log.md has the runs that chose it). As every unit adds to what is there, a picture can be made
of the stream after any step. The residual over an interpolated input is that of VDSR (Kim et al.,
arXiv 1511.04587).

In 8-bit integers (``layers.fake_quant``) compute the 1x1 kernels only, not the depthwise ones, for
which ONNX Runtime takes over twice as long in integers as in float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from loopsr.errors import UsageError
from loopsr.layers.unit import Unit


class Loop(nn.Module):
    """Head, a loop of units, sub-pixel tail over a bilinear input; b3hw [0, 1] to b3(sh)(sw)."""

    multiple_of = 1

    def __init__(
        self,
        *,
        scale: int,
        width: int = 32,
        own: int = 4,
        depth: int = 2,
        iters: int = 3,
        distinct: int | None = None,
        kernel: int = 5,
        expansion: int = 2,
    ) -> None:
        """Build with fresh weights.

        ``width`` is in channels, ``own`` and ``depth`` count the units of a step that it has alone
        and that it shares, ``iters`` the steps, ``distinct`` those with units of their own (None:
        all), ``kernel`` is the side of the depthwise kernels, ``expansion`` how many times as many
        channels a unit has inside. Raises ``UsageError`` for a number below 1 (``own``: below 0),
        ``distinct`` above ``iters``, an even ``kernel`` or a scale outside 2 to 4.
        """
        super().__init__()
        if scale not in (2, 3, 4):
            raise UsageError(f"loop knows scale 2, 3 and 4, got {scale}; pass one of these")
        if min(width, depth, iters, expansion, own + 1) < 1:
            raise UsageError(
                f"width {width}, own {own}, depth {depth}, iters {iters}, expansion {expansion}: "
                "each must be at least 1, own at least 0"
            )
        if distinct is not None and not 1 <= distinct <= iters:
            raise UsageError(f"distinct is {distinct}, expected 1 to {iters}, the number of iters")
        if kernel < 1 or kernel % 2 == 0:
            raise UsageError(f"kernel is {kernel}, an odd side was expected; pass 3 or 5")
        self.scale = scale
        self.iters = iters
        self._config = {"width": width, "own": own, "depth": depth, "iters": iters}
        self._config |= {"kernel": kernel, "expansion": expansion}
        if distinct not in (None, iters):
            self._config["distinct"] = distinct

        def units(count: int) -> nn.ModuleList:
            return nn.ModuleList(
                Unit(width, kernel=kernel, expansion=expansion) for _ in range(count)
            )

        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.own = nn.ModuleList(units(own) for _ in range(distinct or iters))
        self.cell = units(depth)
        self.tail = nn.Conv2d(width, 3 * scale**2, 1)
        # The tail starts near zero, so that the first picture is the bilinear one.
        for layer, size in ((self.head, 1.0), (self.tail, 0.1)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            layer.weight.data *= size
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def _chain(self, step: int) -> Iterator[Unit]:
        """The units of step 0, 1, ...; its own ones are at most those of the last ``distinct``."""
        yield from cast(Iterable[Unit], self.own[min(step, len(self.own) - 1)])
        yield from cast(Iterable[Unit], self.cell)

    @property
    def halo(self) -> int:
        """Input pixels of context: the head, and every unit of every step."""
        units = sum(len(list(self._chain(step))) for step in range(self.iters))
        return 1 + units * (self._config["kernel"] // 2)

    def config(self) -> dict[str, Any]:
        """Arguments that build this network again."""
        return {"scale": self.scale, **self._config}

    def hidden_weights(self) -> list[nn.Parameter]:
        """The matrices inside the network, for optimisers that treat them apart (Muon)."""
        units = [module for module in self.modules() if isinstance(module, Unit)]
        layers = [layer for unit in units for layer in (unit.widen, unit.narrow)]
        return [cast(nn.Parameter, layer.weight) for layer in layers]

    def _steps(self, features: Tensor, iters: int | None) -> Iterator[Tensor]:
        steps = self.iters if iters is None else iters
        if steps < 1 or (steps > 1 and self.iters == 1):
            raise UsageError(f"iters is {steps}, this network was trained for {self.iters}")
        for step in range(steps):
            for unit in self._chain(step):
                features = unit(features)
            yield features

    def _base(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)

    def _detail(self, features: Tensor) -> Tensor:
        return F.pixel_shuffle(self.tail(features), self.scale)

    def forward(self, x: Tensor, iters: int | None = None) -> Tensor:
        """Upscale b3hw in [0, 1] to b3(sh)(sw); the output is not clamped."""
        *_, features = self._steps(self.head(x), iters)
        return self._detail(features) + self._base(x)

    def unroll(self, x: Tensor, iters: int | None = None) -> Iterator[Tensor]:
        """Yield the picture after each step."""
        base = self._base(x)
        for features in self._steps(self.head(x), iters):
            yield self._detail(features) + base

"""Optimisers: Adam, and Muon for the hidden convolutions.

Muon: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. The factor
0.2 * sqrt(max(rows, columns)) is that of Liu et al., "Muon is scalable for LLM training", arXiv
2502.16982; it gives an update the size that Adam's would have. ``torch.optim.Muon`` takes matrices
only and computes in bfloat16, which processors without it do slowly; here a kernel (out, in, k, k)
is seen as (out, in*k*k) in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from loopsr.errors import UnknownNameError
from loopsr.train.recipe import OptimSettings

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrix: Tensor, *, steps: int = 5) -> Tensor:
    """The nearest half-orthogonal matrix, roughly: singular values between about 0.7 and 1.2."""
    a, b, c = _NEWTON_SCHULZ
    x: Tensor = matrix / (matrix.norm() + 1e-7)
    tall = x.size(0) > x.size(1)
    if tall:
        x = x.T
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal as a matrix; for 2-D and 4-D weights."""

    def __init__(self, params: Iterable[nn.Parameter], *, lr: float, momentum: float) -> None:
        """Step ``params`` with rate ``lr``."""
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group["lr"], group["momentum"])

    def _update(self, parameter: nn.Parameter, rate: float, momentum: float) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        assert parameter.grad is not None
        state["momentum"].lerp_(parameter.grad, 1 - momentum)
        update = parameter.grad.lerp(state["momentum"], momentum).flatten(1)
        size = 0.2 * math.sqrt(max(update.shape))
        update = orthogonalise(update).reshape(parameter.shape)
        parameter.add_(update, alpha=-rate * size)


def hidden_weights(network: nn.Module) -> list[nn.Parameter]:
    """The kernels that Muon may take: those the network names by ``hidden_weights()``, else those
    of all plain convolutions but the first and the last."""
    named = getattr(network, "hidden_weights", None)
    if named is not None:
        return list(named())
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    convolutions = [module for module in network.modules() if isinstance(module, kinds)]
    inner = convolutions[1:-1]
    kernels = [m.weight for m in inner if isinstance(m, nn.Conv2d) and m.groups == 1]
    return cast(list[nn.Parameter], kernels)


def make_optimisers(network: nn.Module, settings: OptimSettings) -> list[torch.optim.Optimizer]:
    """One or two optimisers over all parameters. Raises ``UnknownNameError``."""
    if settings.name not in ("adam", "muon"):
        raise UnknownNameError("optimiser", settings.name, ("adam", "muon"))
    hidden = hidden_weights(network) if settings.name == "muon" else []
    taken = {id(p) for p in hidden}
    rest = [p for p in network.parameters() if id(p) not in taken]
    rate = settings.other_learning_rate if hidden else settings.learning_rate
    optimisers: list[torch.optim.Optimizer] = []
    if hidden:
        muon = Muon(hidden, lr=settings.learning_rate, momentum=settings.momentum)
        optimisers.append(muon)
    optimisers.append(torch.optim.Adam(rest, lr=rate, betas=settings.betas))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["full_rate"] = group["lr"]
    return optimisers


def set_progress(
    optimisers: Iterable[torch.optim.Optimizer], progress: float, *, warmup: float, decay: float
) -> float:
    """Set the rates for a ``progress`` from 0 to 1, and return the first one.

    Linear warm-up, the full rate, and half a cosine over the last ``decay`` of the run.
    """
    falling = max(0.0, progress - (1 - decay)) / decay
    factor = 0.5 * (1 + math.cos(math.pi * min(falling, 1.0)))
    if progress < warmup:
        factor *= progress / warmup
    rates: list[Any] = []
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = max(group["full_rate"] * factor, 1e-7)
            rates.append(group["lr"])
    return float(rates[0])

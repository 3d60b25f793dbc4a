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
from typing import cast

import torch
from torch import Tensor, nn

from loopsr.errors import UnknownNameError
from loopsr.train.recipe import OptimSettings

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, *, steps: int = 5) -> Tensor:
    """The nearest half-orthogonal matrices, roughly: singular values between about 0.7 and 1.2.

    ``matrices`` are (..., rows, columns), each treated alone.
    """
    a, b, c = _NEWTON_SCHULZ
    x: Tensor = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.size(-2) > x.size(-1)
    if tall:
        x = x.mT
    for _ in range(steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


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
            alike: dict[tuple[int, ...], list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike.setdefault(tuple(parameter.shape), []).append(parameter)
            for parameters in alike.values():
                self._update(parameters, group["lr"], group["momentum"])

    def _update(
        self, parameters: list[nn.Parameter], rate: float | Tensor, momentum: float
    ) -> None:
        """Matrices of one shape go together: a GPU takes as long for ten as for one."""
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        gradients = [cast(Tensor, parameter.grad) for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, momenta, momentum)
        steps = torch.stack([step.flatten(1) for step in ahead])
        size = 0.2 * math.sqrt(max(steps.shape[1:]))
        updates = orthogonalise(steps) * (rate * size)
        shape = (-1, *parameters[0].shape)
        torch._foreach_sub_([*parameters], updates.view(shape).unbind())


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
    """One or two optimisers over all parameters. Raises ``UnknownNameError``.

    On a GPU the rates are tensors there, so that a captured step sees them change.
    """
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
    on_gpu = rest[0].is_cuda
    optimisers.append(torch.optim.Adam(rest, lr=rate, betas=settings.betas, capturable=on_gpu))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["full_rate"] = group["lr"]
            if on_gpu:
                group["lr"] = torch.tensor(group["lr"], device=rest[0].device)
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
    rates: list[float] = []
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            rates.append(max(group["full_rate"] * factor, 1e-7))
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rates[-1])
            else:
                group["lr"] = rates[-1]
    return rates[0]

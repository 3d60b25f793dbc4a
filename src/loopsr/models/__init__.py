"""The networks: one file each, and this list.

A network is a ``torch.nn.Module`` with a keyword-only, JSON-able constructor that takes ``scale``.
It knows ``scale``, ``halo`` (input pixels of context on each side, None if global), ``multiple_of``
and ``iters``, returns its constructor arguments by ``config()``, maps b3hw in [0, 1] to b3(sh)(sw)
by ``forward(x, iters=None)`` and yields one picture a step by ``unroll(x, iters=None)``. It keeps
no state between calls and does no I/O.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from loopsr.errors import UnknownNameError, UsageError

# One line a network; the key is what a model card calls `network`.
NETWORKS: dict[str, str] = {
    "loop": "loopsr.models.loop:Loop",
    "lrn": "loopsr.models.lrn:LRN",
}


@runtime_checkable
class Network(Protocol):
    """What the rest of the package may rely on in a network."""

    scale: int
    halo: int | None
    multiple_of: int
    iters: int

    def config(self) -> dict[str, Any]: ...

    def forward(self, x: Tensor, iters: int | None = None) -> Tensor: ...

    def unroll(self, x: Tensor, iters: int | None = None) -> Iterator[Tensor]: ...


def create(name: str, **config: Any) -> nn.Module:
    """Build a network by its name, with fresh weights.

    Raises ``UnknownNameError`` for a name that is not listed and ``UsageError`` for arguments that
    the network does not take.
    """
    if name not in NETWORKS:
        raise UnknownNameError("network", name, NETWORKS)
    module, _, attribute = NETWORKS[name].partition(":")
    network = getattr(importlib.import_module(module), attribute)
    try:
        return cast(nn.Module, network(**config))
    except TypeError as error:
        raise UsageError(f"network {name!r} does not take these arguments: {error}") from error


def count_parameters(network: nn.Module) -> int:
    """All numbers that a weight file holds: parameters and persistent buffers."""
    return sum(tensor.numel() for tensor in network.state_dict().values())


def macs_per_pixel(network: nn.Module) -> int:
    """Multiply-accumulates of all convolutions, an input pixel, counted on a real forward pass."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        # A transposed kernel is applied once an input pixel, a plain one once an output pixel.
        places = (inputs[0] if isinstance(module, nn.ConvTranspose2d) else output)[0, 0].numel()
        total += module.weight.numel() * places

    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, kinds)]
    side = 16
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, side, side))
    finally:
        for hook in hooks:
            hook.remove()
    return total // side**2

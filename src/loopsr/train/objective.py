"""The loss as a module: what wraps a network (DDP, the compiler) then sees all that is computed."""

from __future__ import annotations

import logging
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from loopsr.errors import first_line
from loopsr.layers.fused_unit import fuse
from loopsr.train.device import autocast
from loopsr.train.distributed import World
from loopsr.train.losses import total_loss
from loopsr.train.recipe import LossSettings, Recipe

log = logging.getLogger(__name__)


class Objective(nn.Module):
    """A network and what it is trained for: (lr, hr, iters) to the scalar loss."""

    def __init__(self, network: nn.Module, settings: LossSettings) -> None:
        """Hold ``network``; its parameters are this module's."""
        super().__init__()
        self.network = network
        self._settings = settings

    def forward(self, lr: Tensor, hr: Tensor, iters: int | None) -> Tensor:
        """The loss of a batch; see ``total_loss``."""
        return total_loss(self.network, lr, hr, self._settings, iters=iters)


def make_objective(
    network: nn.Module, recipe: Recipe, *, world: World, compiled: bool | None
) -> nn.Module:
    """``network`` with its loss, shared by all processes.

    On a GPU it is compiled, on a CPU its units are (``fused_unit``), where that is possible.
    ``compiled`` true compiles all of it on either, false nothing.
    """
    module: nn.Module = Objective(network, recipe.loss)
    if compiled is None and world.place.type == "cpu":
        _fuse(network)
    elif compiled is not False:
        module = _compile(module, recipe, world)
    if world.size == 1:
        return module
    return DistributedDataParallel(module)


def _fuse(network: nn.Module) -> None:
    try:
        count = fuse(network)
    except OSError as error:
        reason = first_line(error)
        log.info("the units were not compiled (%s); the steps run as they are, slower", reason)
        return
    if count:
        log.info("%d units run in a compiled kernel", count)


def _compile(module: nn.Module, recipe: Recipe, world: World) -> nn.Module:
    """``torch.compile``, tried out on an empty batch; the module itself where that fails."""
    parameters = list(module.parameters())
    side = recipe.patch
    shape = (recipe.batch // world.size, 3, side, side)
    lr = torch.zeros(shape, device=world.place).to(memory_format=torch.channels_last)
    hr = lr.repeat_interleave(recipe.scale, 2).repeat_interleave(recipe.scale, 3)
    hr = hr.contiguous(memory_format=torch.channels_last)
    try:
        faster = cast(nn.Module, torch.compile(module, dynamic=False))
        with autocast(recipe.precision, world.place):
            loss = faster(lr, hr, None)
        loss.backward()
    except Exception as error:  # whatever a compiler can think of; training goes on without it
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = " ".join(lines[:2])  # the first is often a mere heading
        log.info("torch.compile failed (%s); the steps run as they are, slower", reason)
        faster = module
    for parameter in parameters:
        parameter.grad = None
    return faster

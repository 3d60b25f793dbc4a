"""One process or many: ``torchrun`` starts them, this file lets them agree.

Every process holds the whole network and draws the same numbers; each cuts its own part of the
batch, and DistributedDataParallel averages the gradients. So ``batch`` counts the crops of all
processes together, and a recipe gives the same weights, apart from rounding, on any number of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class World:
    """This process among all that train together."""

    place: torch.device
    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and reports."""
        return self.rank == 0

    def mean(self, *values: float) -> list[float]:
        """Each number's mean over all processes, the same in all of them."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=self.place)
        dist.all_reduce(shared)
        return [float(value) / self.size for value in shared]

    @contextlib.contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first process runs the block before the others: they find what it left on disk."""
        if self.size > 1 and not self.first:
            dist.barrier()
        yield
        if self.size > 1 and self.first:
            dist.barrier()


def is_first() -> bool:
    """Whether this process, of those that ``torchrun`` started, if it did, is the first."""
    return os.environ.get("RANK", "0") == "0"


def local_rank() -> int:
    """The number of this process on its machine, which is that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextlib.contextmanager
def join(place: torch.device) -> Iterator[World]:
    """Join the processes that ``torchrun`` started; alone without it.

    A process group that is there already is used, and left as it is.
    """
    if dist.is_initialized():
        yield World(place=place, rank=dist.get_rank(), size=dist.get_world_size())
        return
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield World(place=place)
        return
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield World(place=place, rank=dist.get_rank(), size=dist.get_world_size())
    finally:
        dist.destroy_process_group()

"""All training pictures in the memory of a device: a batch is one gather there, turns included."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from loopsr.data.pairs import ORDERS, Sampler, parts

log = logging.getLogger(__name__)
Pixels = NDArray[np.uint8]
_SHARE = 0.7  # of a GPU's free memory that pictures may take; the rest is for the network


@dataclass(frozen=True)
class _Store:
    """Pictures one after the other: (all pixels, 3) uint8, and of each its first row and width."""

    pixels: Tensor
    start: Tensor
    width: Tensor


class ResidentSampler:
    """The batches of a ``Sampler``, cut on a device: the same crops for the same numbers."""

    def __init__(self, sampler: Sampler, place: torch.device) -> None:
        """Copy the pictures of ``sampler`` to ``place``; its numbers go on being drawn there."""
        self._sampler = sampler
        self._place = place
        self._lr = _upload(sampler.lr, place)
        self._hr = _upload(sampler.hr, place)
        self._orders = torch.tensor(ORDERS, device=place)

    def numbers(self) -> Tensor:
        """What the next batch is cut by: (n, 3 choices + 1) int64, in main memory."""
        places, ways = self._sampler.places()
        return torch.from_numpy(np.concatenate([places.reshape(len(ways), -1), ways[:, None]], 1))

    def cut(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """The batch of ``numbers``, on the device as they are, in the form of ``draw``."""
        options = numbers[:, :-1].reshape(len(numbers), -1, 3)
        way, order, negative = parts(numbers[:, -1])
        chosen = self._most_detailed(options) if options.size(1) > 1 else options[:, 0]
        scale, patch = self._sampler.scale, self._sampler.patch
        corner = chosen[:, 1:]
        lr = _gather(self._lr, chosen[:, 0], corner, way, patch)
        hr = _gather(self._hr, chosen[:, 0], corner * scale, way, patch * scale)
        if self._sampler.colours:
            order = self._orders[order].view(-1, 1, 1, 3)
            lr, hr = (crops.gather(-1, order.expand(crops.shape)) for crops in (lr, hr))
        if self._sampler.negatives:
            negative = negative.view(-1, 1, 1, 1)
            lr, hr = (torch.where(negative, 255 - crops, crops) for crops in (lr, hr))
        return to_unit(lr), to_unit(hr)

    def draw(self) -> tuple[Tensor, Tensor]:
        """The next batch: n3pp inputs and n3(sp)(sp) targets in [0, 1], channels last."""
        return self.cut(self.numbers().to(self._place))

    def _most_detailed(self, options: Tensor) -> Tensor:
        """(n, choices, 3) places to the (n, 3) whose input crops have the most detail."""
        n, choices, _ = options.shape
        flat = options.reshape(-1, 3)
        straight = flat.new_zeros(len(flat))
        crops = _gather(self._lr, flat[:, 0], flat[:, 1:], straight, self._sampler.patch)
        found = detail(crops).view(n, choices)
        # The first of equal ones, as Python's max takes it; argmax promises no order.
        rank = torch.arange(choices, device=found.device)
        best = torch.where(found == found.amax(1, keepdim=True), rank, choices).amin(1)
        return options[torch.arange(n, device=found.device), best]


def detail(crops: Tensor) -> Tensor:
    """What ``loopsr.data.pairs.detail`` gives, for each of (n, h, w, 3) uint8 crops, to the bit."""
    green = crops[..., 1].to(torch.int16)
    steps = (green.diff(dim=1).abs(), green.diff(dim=2).abs())
    sums = [step.sum((1, 2), dtype=torch.int64).double() / step[0].numel() for step in steps]
    return sums[0] + sums[1]


def fits(sampler: Sampler, place: torch.device) -> bool:
    """Whether the pictures leave room for a network on a GPU; elsewhere they always do."""
    if place.type != "cuda":
        return True
    unique = {id(p): p.nbytes for p in (*sampler.lr, *sampler.hr)}
    needed, free = sum(unique.values()), torch.cuda.mem_get_info(place)[0]
    if needed > _SHARE * free:
        log.info("%.1f GB of pictures stay in main memory: the GPU is too small", needed / 1e9)
    return needed <= _SHARE * free


def _upload(pictures: Sequence[Pixels], place: torch.device) -> _Store:
    rows: dict[int, int] = {}  # variants of a degradation share their sharp picture
    total = 0
    for picture in pictures:
        if id(picture) not in rows:
            rows[id(picture)] = total
            total += picture.shape[0] * picture.shape[1]
    pixels = torch.empty((total, 3), dtype=torch.uint8, device=place)
    for picture in {id(p): p for p in pictures}.values():
        first = rows[id(picture)]
        # A copy, because the pictures are read-only maps of a file, which torch warns of.
        flat = torch.from_numpy(np.array(picture).reshape(-1, 3))
        pixels[first : first + len(flat)] = flat.to(place)
    starts = [rows[id(picture)] for picture in pictures]
    widths = [picture.shape[1] for picture in pictures]
    return _Store(
        pixels=pixels,
        start=torch.tensor(starts, device=place),
        width=torch.tensor(widths, device=place),
    )


def _gather(store: _Store, picture: Tensor, corner: Tensor, way: Tensor, size: int) -> Tensor:
    """(n, size, size, 3) uint8 crops; ``corner`` is (n, 2) of top and left, ``way`` as in turn."""
    way = way.view(-1, 1, 1)
    down = torch.arange(size, device=way.device).view(1, size, 1)
    right = down.view(1, 1, size)
    swap = (way & 4).bool()
    row = torch.where(swap, right, down)
    column = torch.where(swap, down, right)
    row = torch.where((way & 2).bool(), size - 1 - row, row) + corner[:, 0].view(-1, 1, 1)
    column = torch.where((way & 1).bool(), size - 1 - column, column) + corner[:, 1].view(-1, 1, 1)
    start, width = (values[picture].view(-1, 1, 1) for values in (store.start, store.width))
    return store.pixels[start + row * width + column]


def to_unit(crops: Tensor) -> Tensor:
    """(n, h, w, 3) uint8 as n3hw float32 in [0, 1], channels last in memory."""
    return crops.permute(0, 3, 1, 2).float().div_(255)

"""Adaptive steps: each cell of a picture runs as many steps of the network as it needs.

How much detail a cell of the input holds (``detail``) tells at which step it may stop, by the rule
in the model's card, which was calibrated on training pictures (``loopsr.export.calibrate``). The
network is cut after each stop, and each of its segments runs where some cell goes on, on few
rectangles, and takes the state that the segment before left there. It also runs around them, as far
as the segments after it see. So wherever a cell took n steps, its picture is that of the network
stopped after n, and cells with all steps are exactly the fixed result. The rule sees the input
alone, so tiles of another size give the same.

Where a cell with fewer steps touches one with more, its picture passes into that of more steps over
a few pixels, so that no seam appears (``loopsr.engine.blend``).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loopsr.card import ModelCard, StepRule
from loopsr.engine.backends import Read, Stepwise
from loopsr.engine.blend import REACH, enlarged, shares
from loopsr.engine.cover import cover
from loopsr.engine.detail import SEEN, wanted_steps
from loopsr.engine.runners import Array, Bicubic, Box, Core
from loopsr.weights.onnx_graph import INPUT

_OVERHEAD = 500.0  # what calling a runtime costs, in input pixels of one step
_BLOCK = 16  # input pixels; rectangles are made of such squares
_NONE, _PART, _ALL = 0, 1, 2  # of a picture, in a block


def adaptive_halo(card: ModelCard, rule: StepRule) -> int:
    """Input pixels around a core: what all steps see, and the cells beside it, which are judged as
    well."""
    assert card.halo is not None
    return max(card.halo, _beside(rule) + SEEN)


def _beside(rule: StepRule) -> int:
    """Whole cells, in input pixels, that may change a core beside them."""
    return -(-REACH // rule.cell) * rule.cell


def adaptive_memory(rule: StepRule) -> float:
    """How much more memory than the whole network it takes: each part of it has its own, and keeps
    it (tests/engine/test_memory.py measures again)."""
    parts = sum(stop > 0 for stop in rule.stops)
    return parts + 0.1


@dataclass(frozen=True)
class _Share:
    """How much of a picture is in that of the core: ``weights`` of its input pixels and of one more
    on each side, and for each block of the window whether that is nothing, a part or all."""

    weights: Array
    blocks: NDArray[np.int8]


@dataclass(frozen=True)
class _Pass:
    """One segment of the network on the rectangles where it is needed, each with what it sees
    around it; boxes of a window."""

    stop: int
    share: _Share
    boxes: list[tuple[Box, Box]]


@dataclass(frozen=True)
class _Patch:
    """Values of the state, (1, channels, h, w) of the box ``around``, that are right in ``box``."""

    values: Array
    around: Box
    box: Box


class Adaptive:
    """Runs the cores of tiles with as many steps as they need; see ``Runner``."""

    def __init__(self, network: Stepwise, card: ModelCard, rule: StepRule) -> None:
        """``network`` is cut after each of ``rule.stops``; ``card`` is that of all steps."""
        assert card.iters is not None
        assert card.halo is not None
        assert card.halo_per_step is not None
        self.unit = rule.cell
        self._network, self._scale, self._rule = network, card.scale, rule
        self._bicubic = Bicubic(scale=card.scale, sharpen=rule.sharpen)
        # Context of a step, and that of the first and last layers.
        self._per_step = card.halo_per_step
        self._ends = card.halo - card.iters * card.halo_per_step
        self._grid = card.multiple_of
        self._block = -(-_BLOCK // self._grid) * self._grid

    def run_core(self, window: Array, core: Box) -> Core:
        """Upscale a core with as many steps as its cells need; as ``Runner``."""
        size = window.shape[2], window.shape[3]
        whole = (0, size[0], 0, size[1])
        judged = _clipped(_grown(core, _beside(self._rule)), whole)
        steps = wanted_steps(window[0], judged, self._rule)
        first, passes = self._plan(steps, judged, core, size)
        output = self._begin(window, core, first)
        state = {INPUT: [_Patch(window, whole, whole)]}
        for each in passes:
            self._go_on(output, state, each, core)
        # The cells beside the core were judged for what they change in it.
        y, x = (core[0] - judged[0]) // self.unit, (core[2] - judged[2]) // self.unit
        rows, columns = (-(-(core[i + 1] - core[i]) // self.unit) for i in (0, 2))
        return Core(output, steps[y : y + rows, x : x + columns])

    def _plan(
        self, steps: NDArray[np.int8], judged: Box, core: Box, size: tuple[int, int]
    ) -> tuple[_Share | None, list[_Pass]]:
        """The share of bicubic, and what is to be run, in order; the last segments are planned
        first, as they say where the others are needed."""
        stops, bicubic = self._rule.stops, None
        height, width = judged[1] - judged[0], judged[3] - judged[2]
        inside = _place(_grown(core, 1), _grown(judged, 1))
        passes: list[_Pass] = []
        needed: list[Box] = []
        for place, whole in reversed(list(enumerate(shares(steps, stops, self.unit)))):
            # One more on each side, for the interpolation at the picture's border.
            weights = np.pad(whole[:height, :width], 1, mode="edge")[inside]
            share = _Share(weights, _blocks(weights, core, size, self._block))
            if stops[place] == 0:
                bicubic = share
                continue
            count = stops[place] - (stops[place - 1] if place else 0)
            wanted = share.blocks > _NONE
            for box in needed:
                wanted[_place(_in_blocks(box, self._block))] = True
            boxes = self._boxes(wanted, count, size)
            passes.append(_Pass(stops[place], share, boxes))
            needed = [around for _, around in boxes]
        return bicubic, passes[::-1]

    def _boxes(
        self, mask: NDArray[np.bool_], count: int, size: tuple[int, int]
    ) -> list[tuple[Box, Box]]:
        """Rectangles of the window that hold the blocks of ``mask``, each with what ``count`` steps
        and the layers before and after them see around it."""
        block, window = self._block, (0, size[0], 0, size[1])
        margin = count * self._per_step + self._ends
        margin += -margin % self._grid
        boxes = []
        for each in cover(mask, margin=margin / block, overhead=_OVERHEAD / count / block**2):
            top, bottom, left, right = (block * edge for edge in each)
            box = _clipped((top, bottom, left, right), window)
            boxes.append((box, _clipped(_grown(box, margin), window)))
        return boxes

    def _begin(self, window: Array, core: Box, share: _Share | None) -> Array:
        """The part of bicubic in the picture of the core."""
        s = self._scale
        if share is None or not share.blocks.any():
            return np.zeros((3, s * (core[1] - core[0]), s * (core[3] - core[2])), np.float32)
        output = self._bicubic.run_core(window, core).pixels
        for box, amount in _pieces(share.blocks, core, core, self._block):
            part = output[:, *_place(box, core, s)]
            if amount == _NONE:
                part[:] = 0
            elif amount == _PART:
                part *= _enlarged(share, box, core, s)
        return output

    def _go_on(self, output: Array, state: dict[str, list[_Patch]], now: _Pass, core: Box) -> None:
        """Run a segment, add its part to ``output``, and put what it leaves into ``state``."""
        s = self._scale
        left = now.share.blocks.copy()  # of boxes that overlap the first adds what both have
        for box, around in now.boxes:
            picture, added = self._network.go_on(_reader(state, around), now.stop)
            for name, values in added.items():
                state.setdefault(name, []).append(_Patch(values, around, box))
            for piece, amount in _pieces(left, box, core, self._block):
                part = output[:, *_place(piece, core, s)]
                fresh = picture[0, :, *_place(piece, around, s)]
                if amount == _ALL:
                    part[:] = fresh
                elif amount == _PART:
                    part += fresh * _enlarged(now.share, piece, core, s)
            left[_place(_in_blocks(box, self._block))] = _NONE


def _blocks(weights: Array, core: Box, size: tuple[int, int], block: int) -> NDArray[np.int8]:
    """For each block of a window whether the core has none of a picture there, a part, or all of
    it; ``weights`` as in ``_Share``."""
    # Interpolated, a weight also reaches the pixels beside its own.
    most, least = weights, weights
    for _ in range(2):
        most = np.maximum(np.maximum(most[:-2], most[1:-1]), most[2:]).T
        least = np.minimum(np.minimum(least[:-2], least[1:-1]), least[2:]).T
    above, below = np.zeros(size, np.float32), np.ones(size, np.float32)
    above[_place(core)], below[_place(core)] = most, least
    rows, columns = (np.arange(0, side, block) for side in size)
    above = np.maximum.reduceat(np.maximum.reduceat(above, rows, axis=0), columns, axis=1)
    below = np.minimum.reduceat(np.minimum.reduceat(below, rows, axis=0), columns, axis=1)
    return np.where(above == 0, _NONE, np.where(below == 1, _ALL, _PART)).astype(np.int8)


def _pieces(blocks: NDArray[np.int8], box: Box, core: Box, block: int) -> Iterator[tuple[Box, int]]:
    """Rectangles of the core within ``box`` whose blocks are alike, and what they are."""
    top, bottom, left, right = _in_blocks(box, block)
    for row in range(top, bottom):
        here = blocks[row, left:right]
        edges = [0, *(np.flatnonzero(np.diff(here)) + 1), right - left]
        for start, end in itertools.pairwise(edges):
            columns = block * (left + start), block * (left + end)
            piece = _clipped((block * row, block * (row + 1), *columns), core)
            if piece[0] < piece[1] and piece[2] < piece[3]:
                yield piece, int(here[start])


def _enlarged(share: _Share, box: Box, core: Box, scale: int) -> Array:
    """The share at the output pixels of a box of the core."""
    return enlarged(share.weights[_place(_grown(box, 1), _grown(core, 1))], scale)


def _in_blocks(box: Box, block: int) -> Box:
    """The blocks that hold a box."""
    return box[0] // block, -(-box[1] // block), box[2] // block, -(-box[3] // block)


def _grown(box: Box, by: int) -> Box:
    return box[0] - by, box[1] + by, box[2] - by, box[3] + by


def _clipped(box: Box, limits: Box) -> Box:
    return (
        max(box[0], limits[0]),
        min(box[1], limits[1]),
        max(box[2], limits[2]),
        min(box[3], limits[3]),
    )


def _place(box: Box, outer: Box = (0, 0, 0, 0), scale: int = 1) -> tuple[slice, slice]:
    """Where ``box`` lies in an array of ``outer`` (of its window), enlarged."""
    top, bottom = scale * (box[0] - outer[0]), scale * (box[1] - outer[0])
    left, right = scale * (box[2] - outer[2]), scale * (box[3] - outer[2])
    return slice(top, bottom), slice(left, right)


def _reader(state: dict[str, list[_Patch]], box: Box) -> Read:
    return lambda name: _cut(state[name], box)


def _cut(patches: list[_Patch], box: Box) -> Array:
    """The values of a box, which the patches hold together."""
    for patch in patches:
        if _clipped(box, patch.box) == box:
            return np.ascontiguousarray(patch.values[:, :, *_place(box, patch.around)])
    height, width = box[1] - box[0], box[3] - box[2]
    result = np.empty((*patches[0].values.shape[:2], height, width), np.float32)
    for patch in patches:
        both = _clipped(patch.box, box)
        if both[0] < both[1] and both[2] < both[3]:
            result[:, :, *_place(both, box)] = patch.values[:, :, *_place(both, patch.around)]
    return result

"""Adaptive steps: each cell of a picture runs as many steps of the network as it needs.

How much detail a cell of the input holds (``detail``) tells at which step it may stop, by the rule
in the model's card, which was calibrated on training pictures (``loopsr.export.calibrate``). The
first steps run on the whole tile. Cells that go on take their state along, so they pay only for the
steps that are left; they are run together, in rectangles with as much of the state around them as
those steps can see. So wherever a cell took n steps, its picture is that of the network stopped
after n, and cells with all steps are exactly the fixed result. The rule sees the input alone, so
tiles of another size give the same.

Where a cell with fewer steps touches one with more, its picture passes into that of more steps over
a few pixels, so that no seam appears (``loopsr.engine.blend``).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from loopsr.card import ModelCard, StepRule
from loopsr.engine.backends import State, Stepwise
from loopsr.engine.blend import REACH, blend, enlarged, ramp
from loopsr.engine.cover import cover
from loopsr.engine.detail import SEEN, wanted_steps
from loopsr.engine.runners import Array, Bicubic, Box, Core
from loopsr.weights.onnx_parts import INPUT

_OVERHEAD = 500.0  # what calling a runtime costs, in input pixels of one step


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
    return 1.2 * parts + 0.1


class Adaptive:
    """Runs the cores of tiles with as many steps as they need; see ``Runner``."""

    def __init__(self, network: Stepwise, card: ModelCard, rule: StepRule) -> None:
        """``network`` is cut after the first of ``rule.stops``; ``card`` is that of all steps."""
        assert card.iters is not None
        assert card.halo is not None
        assert card.halo_per_step is not None
        self.unit = rule.cell
        self._network, self._scale, self._rule = network, card.scale, rule
        # Context of steps that are left, with that of head and tail.
        self._per_step = card.halo_per_step
        self._ends = card.halo - card.iters * card.halo_per_step
        self._grid = card.multiple_of

    def run_core(self, window: Array, core: Box) -> Core:
        """Upscale a core by the first steps, then what needs more by more; as ``Runner``."""
        size = window.shape[2], window.shape[3]
        judged = _clipped(_grown(core, _beside(self._rule)), (0, size[0], 0, size[1]))
        steps = wanted_steps(window[0], judged, self._rule)
        output, state = self._begin(window, core)
        for stop in self._rule.stops[1:]:
            mask = steps == stop
            if mask.any():
                chosen = _Chosen(mask, self.unit, judged=judged, core=core, window=size)
                self._go_on(output, stop, chosen, state)
        # The cells beside the core were judged for what they change in it.
        y, x = (core[0] - judged[0]) // self.unit, (core[2] - judged[2]) // self.unit
        rows, columns = (-(-(core[i + 1] - core[i]) // self.unit) for i in (0, 2))
        return Core(output, steps[y : y + rows, x : x + columns])

    def _begin(self, window: Array, core: Box) -> tuple[Array, State]:
        """The picture of the core after the first stop, and the state of the window there."""
        if self._rule.stops[0] == 0:
            bicubic = Bicubic(scale=self._scale, sharpen=self._rule.sharpen)
            return bicubic.run_core(window, core).pixels, {INPUT: window}
        picture, state = self._network.begin(window)
        whole = (0, window.shape[2], 0, window.shape[3])
        return picture[0, :, *_place(core, whole, self._scale)], state

    def _go_on(self, output: Array, stop: int, chosen: _Chosen, state: State) -> None:
        """Bring chosen cells to ``stop`` steps in ``output``, the picture of their core so far."""
        s, core = self._scale, chosen.core
        left = (stop - self._rule.stops[0]) * self._per_step + self._ends
        window = (0, chosen.window[0], 0, chosen.window[1])
        for box in chosen.boxes(margin=left):
            weights = chosen.take(box, s)
            around = _clipped(_grown(box, left + -left % self._grid), window)
            picture = self._network.go_on(_cut(state, around), stop)[0]
            blend(output[:, *_place(box, core, s)], picture[:, *_place(box, around, s)], weights)


class _Chosen:
    """The cells that go on to one stop, and which pixels of the core still wait for it."""

    def __init__(
        self, mask: NDArray[np.bool_], cell: int, *, judged: Box, core: Box, window: tuple[int, int]
    ) -> None:
        """``mask`` has the cells of the box ``judged``, in a window of (height, width)."""
        self.core, self.window = core, window
        self._mask, self._cell, self._judged = mask, cell, judged
        height, width = judged[1] - judged[0], judged[3] - judged[2]
        inside = mask.repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width]
        # One more on each side, for the interpolation at the picture's border.
        self._weights = np.pad(ramp(inside), 1, mode="edge")
        self._waiting = np.ones((core[1] - core[0], core[3] - core[2]), np.bool_)

    def boxes(self, *, margin: int) -> Iterator[Box]:
        """Rectangles of the core that hold all chosen cells and what they reach; each costs
        ``margin`` more pixels on all sides."""
        cell = self._cell
        for rectangle in cover(
            self._mask, margin=(REACH + margin) / cell, overhead=_OVERHEAD / cell**2
        ):
            top, bottom, left, right = (cell * edge for edge in rectangle)
            y, x = self._judged[0], self._judged[2]
            box = _clipped(_grown((y + top, y + bottom, x + left, x + right), REACH), self.core)
            if box[0] < box[1] and box[2] < box[3] and self._waits(box):
                yield box

    def take(self, box: Box, scale: int) -> Array:
        """The weights of the output pixels in ``box``; they are given out once."""
        y, x = box[0] - self._judged[0], box[2] - self._judged[2]
        height, width = box[1] - box[0], box[3] - box[2]
        weights = enlarged(self._weights[y : y + height + 2, x : x + width + 2], scale)
        waiting = self._waiting[_place(box, self.core)]
        if not waiting.all():
            weights *= waiting.repeat(scale, axis=0).repeat(scale, axis=1)
        waiting[:] = False
        return weights

    def _waits(self, box: Box) -> bool:
        y, x = box[0] - self._judged[0], box[2] - self._judged[2]
        # With one more around, which the interpolation sees.
        weights = self._weights[y : y + box[1] - box[0] + 2, x : x + box[3] - box[2] + 2]
        return bool(weights.any() and self._waiting[_place(box, self.core)].any())


def _grown(box: Box, by: int) -> Box:
    return box[0] - by, box[1] + by, box[2] - by, box[3] + by


def _clipped(box: Box, limits: Box) -> Box:
    return (
        max(box[0], limits[0]),
        min(box[1], limits[1]),
        max(box[2], limits[2]),
        min(box[3], limits[3]),
    )


def _place(box: Box, outer: Box, scale: int = 1) -> tuple[slice, slice]:
    """Where ``box`` lies in an array of ``outer``, enlarged."""
    top, bottom = scale * (box[0] - outer[0]), scale * (box[1] - outer[0])
    left, right = scale * (box[2] - outer[2]), scale * (box[3] - outer[2])
    return slice(top, bottom), slice(left, right)


def _cut(state: State, box: Box) -> State:
    top, bottom, left, right = box
    return {
        name: np.ascontiguousarray(values[:, :, top:bottom, left:right])
        for name, values in state.items()
    }

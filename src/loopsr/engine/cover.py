"""Cover marked cells by few rectangles, when each rectangle costs a margin all around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# (top, bottom, left, right) in cells.
Rectangle = tuple[int, int, int, int]


def cover(mask: NDArray[np.bool_], *, margin: float, overhead: float = 0.0) -> list[Rectangle]:
    """Rectangles that hold every True of ``mask`` (rows, columns), cheap together.

    A rectangle of h x w cells costs (h + 2 margin) (w + 2 margin) + ``overhead``, in cells. Starts
    with the runs of each row, equal ones of neighbouring rows joined, and joins two as long as
    that saves. One around all is taken where it costs no more.
    """
    boxes = np.array(_runs(mask), np.int64).reshape(-1, 4)
    costs = _cost(boxes, margin, overhead)
    while len(boxes) > 1:
        joined = _joined(boxes[:, None], boxes[None])
        savings = costs[:, None] + costs[None] - _cost(joined, margin, overhead)
        np.fill_diagonal(savings, -np.inf)
        boxes, costs, changed = _join_best(boxes, joined, savings, margin, overhead)
        if not changed:
            break
    if len(boxes) > 1:
        around = np.array([[*boxes.min(axis=0)]])
        around[0, [1, 3]] = boxes[:, [1, 3]].max(axis=0)
        if _cost(around, margin, overhead)[0] <= costs.sum():
            boxes = around
    return [(int(t), int(b), int(left), int(right)) for t, b, left, right in boxes]


def _join_best(
    boxes: NDArray[np.int64],
    joined: NDArray[np.int64],
    savings: NDArray[np.float64],
    margin: float,
    overhead: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64], bool]:
    """Join each rectangle with the one that saves most, where both want each other."""
    best = savings.argmax(axis=1)
    each = np.arange(len(boxes))
    mutual = (best[best] == each) & (savings[each, best] >= 0) & (each < best)
    if not mutual.any():
        return boxes, _cost(boxes, margin, overhead), False
    firsts = each[mutual]
    alone = np.ones(len(boxes), np.bool_)
    alone[firsts] = alone[best[firsts]] = False
    kept = np.concatenate([joined[firsts, best[firsts]], boxes[alone]])
    return kept, _cost(kept, margin, overhead), True


def _joined(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """The smallest rectangles around pairs."""
    low, high = np.minimum(a, b), np.maximum(a, b)
    return np.stack([low[..., 0], high[..., 1], low[..., 2], high[..., 3]], axis=-1)


def _cost(boxes: NDArray[np.int64], margin: float, overhead: float) -> NDArray[np.float64]:
    height = boxes[..., 1] - boxes[..., 0] + 2 * margin
    width = boxes[..., 3] - boxes[..., 2] + 2 * margin
    cost: NDArray[np.float64] = height * width + overhead
    return cost


def _runs(mask: NDArray[np.bool_]) -> list[Rectangle]:
    """Runs of True in each row; those that equal the run above become one with it."""
    done: list[Rectangle] = []
    open_: dict[tuple[int, int], int] = {}  # (left, right) -> top
    for row, cells in enumerate([*mask, np.zeros(mask.shape[1], np.bool_)]):
        steps = np.flatnonzero(np.diff(np.pad(cells.astype(np.int8), 1)))
        here = {(int(a), int(b)) for a, b in zip(steps[::2], steps[1::2], strict=True)}
        for run in [run for run in open_ if run not in here]:
            done.append((open_.pop(run), row, *run))
        for run in here:
            open_.setdefault(run, row)
    return sorted(done)

"""Marked cells are covered, and never at more than the price of one rectangle."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from loopsr.engine.cover import Rectangle, cover


def price(rectangles: list[Rectangle], margin: float, overhead: float) -> float:
    return sum(
        (b - t + 2 * margin) * (r - left + 2 * margin) + overhead for t, b, left, r in rectangles
    )


def covered(rectangles: list[Rectangle], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    done = np.zeros(shape, np.bool_)
    for top, bottom, left, right in rectangles:
        done[top:bottom, left:right] = True
    return done


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("margin", [0.0, 0.6, 2.0])
def test_all_is_covered_at_a_fair_price(share: float, margin: float) -> None:
    mask = np.random.default_rng(round(100 * share)).random((17, 23)) < share
    found = cover(mask, margin=margin, overhead=0.3)
    assert (covered(found, mask.shape) | ~mask).all()
    rows, columns = np.nonzero(mask)
    around = (int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1)
    each = [(int(y), int(y) + 1, int(x), int(x) + 1) for y, x in np.argwhere(mask)]
    cheapest = min(price([around], margin, 0.3), price(each, margin, 0.3))
    assert price(found, margin, 0.3) <= cheapest + 1e-9


def test_two_far_apart_stay_two_and_two_close_ones_join() -> None:
    mask = np.zeros((20, 20), np.bool_)
    mask[2:4, 2:5] = mask[15:18, 14:16] = True
    assert sorted(cover(mask, margin=1)) == [(2, 4, 2, 5), (15, 18, 14, 16)]
    mask[:] = False
    mask[4, 4] = mask[4, 6] = True
    assert cover(mask, margin=1) == [(4, 5, 4, 7)]


def test_nothing_marked() -> None:
    assert cover(np.zeros((3, 4), np.bool_), margin=1) == []

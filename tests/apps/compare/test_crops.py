"""The crops lie where the pictures differ."""

from __future__ import annotations

import numpy as np

from loopsr.apps.compare.crops import choose_crops


def test_the_most_different_places_come_first_and_do_not_overlap() -> None:
    a = np.full((100, 140, 3), 90, np.uint8)
    b = a.copy()
    b[60:70, 100:110] += 40  # the greatest difference
    b[10:14, 20:24] += 30
    b[0, 139] += 20
    places = choose_crops([a, b], size=20, count=5)
    inside = [(60, 100), (10, 20), (0, 139)]
    assert len(places) == 3  # nothing differs elsewhere
    for (top, left), (y, x) in zip(places, inside, strict=True):
        assert top <= y < top + 20
        assert left <= x < left + 20
        assert 0 <= top <= 80
        assert 0 <= left <= 120
    busy = np.random.default_rng(0).integers(0, 255, a.shape, np.uint8)
    places = choose_crops([a, busy], size=20, count=6)
    assert len(places) == 6
    for i, (y, x) in enumerate(places):
        assert all(abs(y - v) >= 20 or abs(x - u) >= 20 for v, u in places[:i])


def test_equal_and_small_pictures_have_no_crops() -> None:
    a = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    assert choose_crops([a, a.copy(), a.copy()], size=20, count=3) == []
    assert choose_crops([a, 255 - a], size=41, count=3) == []
    assert choose_crops([a, 255 - a], size=40, count=3) == [(0, 0)]

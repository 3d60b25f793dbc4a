"""Batches: aligned, seeded, restorable; and degradations that can be printed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loopsr.data.degrade import degrade, describe, pipeline
from loopsr.data.pairs import Sampler, turn
from loopsr.data.sources import Pairs
from loopsr.errors import UnknownNameError, UsageError


def make(*sizes: tuple[int, int], scale: int = 2) -> Pairs:
    """Pictures in which each pixel knows its place: the target repeats each input pixel."""
    rng = np.random.default_rng(0)
    lr = tuple(rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in sizes)
    hr = tuple(image.repeat(scale, 0).repeat(scale, 1) for image in lr)
    names = tuple(str(i) for i in range(len(sizes)))
    return Pairs(scale=scale, names=names, hr=hr, lr=lr, key="")


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize("negatives", [False, True])
def test_crops_are_aligned_whatever_the_turn(scale: int, colours: bool, negatives: bool) -> None:
    pairs = make((9, 12), (8, 8), scale=scale)
    sampler = Sampler(pairs, batch=40, patch=5, seed=1, colours=colours, negatives=negatives)
    lr, hr = sampler.draw()
    assert lr.shape == (40, 5, 5, 3)
    assert np.array_equal(hr, lr.repeat(scale, 1).repeat(scale, 2))


def test_control_crops_that_are_not_aligned_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = iter(range(10_000))
    monkeypatch.setattr("loopsr.data.pairs.turn", lambda image, way: turn(image, next(ways) % 8))
    lr, hr = Sampler(make((9, 12)), batch=8, patch=5, seed=1).draw()
    assert not np.array_equal(hr, lr.repeat(2, 1).repeat(2, 2))


def test_the_eight_turns_differ() -> None:
    image = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    assert len({turn(image, way).tobytes() for way in range(8)}) == 8


def test_colours_stand_in_every_order_only_when_asked() -> None:
    pairs = make((9, 12))
    pairs.lr[0][:] = (10, 20, 30)
    for colours, orders in ((False, 1), (True, 6)):
        lr, _ = Sampler(pairs, batch=100, patch=4, seed=0, colours=colours).draw()
        assert len(np.unique(lr.reshape(-1, 3), axis=0)) == orders


@pytest.mark.parametrize(("colours", "orders"), [(False, 1), (True, 6)])
def test_half_are_negatives_only_when_asked(colours: bool, orders: int) -> None:
    pairs = make((9, 12))
    pairs.lr[0][:] = (10, 20, 30)
    options = {"batch": 200, "patch": 4, "seed": 0, "colours": colours}
    for negatives, expected in ((False, 0.0), (True, 0.5)):
        lr, _ = Sampler(pairs, negatives=negatives, **options).draw()
        dark = lr.mean(axis=(1, 2, 3)) < 128
        assert 1 - dark.mean() == pytest.approx(expected, abs=0.2 * expected)
        # A negative is white less all of the colour.
        for crops in (lr[dark], 255 - lr[~dark]):
            found = np.unique(crops.reshape(-1, 3), axis=0)
            assert {tuple(sorted(colour)) for colour in found.tolist()} <= {(10, 20, 30)}
            assert len(found) in (0, orders)


def test_the_same_seed_gives_the_same_batches_and_another_does_not() -> None:
    pairs = make((9, 12), (20, 7))
    one, two, other = (Sampler(pairs, batch=6, patch=4, seed=s) for s in (3, 3, 4))
    batches = [s.draw()[0] for s in (one, two, other)]
    assert np.array_equal(batches[0], batches[1])
    assert not np.array_equal(batches[0], batches[2])


def test_state_goes_on_exactly() -> None:
    pairs = make((9, 12), (20, 7))
    whole, parts = (Sampler(pairs, batch=6, patch=4, seed=3) for _ in range(2))
    whole.draw()
    state = whole.state()
    parts.restore(state)
    assert np.array_equal(whole.draw()[1], parts.draw()[1])


def test_large_pictures_are_drawn_more_often() -> None:
    pairs = make((40, 40), (8, 8))
    pairs.lr[1][:] = 0
    pairs.lr[0][:] = 1
    lr, _ = Sampler(pairs, batch=1000, patch=4, seed=0).draw()
    assert lr[:, 0, 0, 0].mean() == pytest.approx(1600 / 1664, abs=0.02)


def test_of_several_crops_the_most_detailed_is_taken() -> None:
    pairs = make((40, 40), (40, 40))
    pairs.lr[1][:] = 7  # a sky
    skies = []
    for choices in (1, 4):
        lr, _ = Sampler(pairs, batch=400, patch=4, seed=0, choices=choices).draw()
        skies.append((lr.std(axis=(1, 2, 3)) == 0).mean())
    assert skies == pytest.approx([1 / 2, 1 / 16], abs=0.05)


def test_small_pictures_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    Sampler(make((40, 40), (8, 30)), batch=1, patch=16, seed=0)
    assert "1 of 2 pictures are smaller than a crop" in caplog.text
    with pytest.raises(UsageError, match=r"all 1 pictures .* crop of 32 pixels.*--set patch"):
        Sampler(make((8, 8)), batch=1, patch=16, seed=0)


def test_pipelines_have_names_and_can_be_printed(tmp_path: Path) -> None:
    assert describe(pipeline("bicubic")) == "bicubic()"
    assert describe((("blur", {"sigma": 1.2}), ("bicubic", {}))) == "blur(sigma=1.2) > bicubic()"
    with pytest.raises(UnknownNameError, match="bicubic"):
        pipeline("bicubc")
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(UnknownNameError, match="degradation step"):
        degrade(image, scale=2, steps=(("bicubc", {}),), rng=np.random.default_rng())


def test_parts_together_are_the_whole_batch() -> None:
    pairs = make((9, 12), (20, 7))
    options = {"batch": 6, "patch": 4, "seed": 3, "choices": 2}
    whole = Sampler(pairs, **options)
    parts = [Sampler(pairs, **options, part=(i, 3)) for i in range(3)]
    for _ in range(2):
        lr, hr = whole.draw()
        cut = [part.draw() for part in parts]
        assert np.array_equal(lr, np.concatenate([c[0] for c in cut]))
        assert np.array_equal(hr, np.concatenate([c[1] for c in cut]))
    assert all(part.state() == whole.state() for part in parts)
    with pytest.raises(UsageError, match=r"batch of 6 .* 4 processes; pass --set batch=4"):
        Sampler(pairs, **options, part=(0, 4))


def test_crops_reach_every_place_and_no_further() -> None:
    pairs = make((7, 9))
    sampler = Sampler(pairs, batch=2000, patch=4, seed=0)
    places, ways = sampler.places()
    assert places.shape == (2000, 1, 3)
    assert set(places[:, 0, 1].tolist()) == set(range(4))
    assert set(places[:, 0, 2].tolist()) == set(range(6))
    assert set(ways.tolist()) == set(range(8))

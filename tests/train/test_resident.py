"""The sampler on the device cuts the very crops that the one in main memory cuts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from loopsr.data import pairs as host
from loopsr.data.pairs import NEGATIVE, Sampler, turn
from loopsr.data.sources import Pairs
from loopsr.train import resident
from loopsr.train.resident import ResidentSampler, fits
from loopsr.train.validate import to_tensor

CPU = torch.device("cpu")


def make(*sizes: tuple[int, int], scale: int, variants: int = 1) -> Pairs:
    """Random pictures: a crop from a wrong place is another crop."""
    rng = np.random.default_rng(0)
    hr, lr = [], []
    for h, w in sizes:
        sharp = rng.integers(0, 256, (h * scale, w * scale, 3), np.uint8)
        hr += [sharp] * variants
        lr += [rng.integers(0, 256, (h, w, 3), np.uint8) for _ in range(variants)]
    names = tuple(map(str, range(len(lr))))
    return Pairs(scale=scale, names=names, hr=tuple(hr), lr=tuple(lr), key="")


def both(pairs: Pairs, **options: int) -> tuple[Sampler, ResidentSampler]:
    settings = {"batch": 24, "patch": 5, "seed": 3} | options
    return Sampler(pairs, **settings), ResidentSampler(Sampler(pairs, **settings), CPU)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("choices", [1, 3])
@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize("negatives", [False, True])
def test_crops_are_those_of_the_sampler_on_the_host(
    scale: int, choices: int, colours: bool, negatives: bool
) -> None:
    pairs = make((9, 12), (20, 7), (8, 8), scale=scale, variants=2)
    one, two = both(pairs, choices=choices, colours=colours, negatives=negatives)
    for _ in range(3):
        expected, got = map(to_tensor, one.draw()), two.draw()
        for a, b in zip(expected, got, strict=True):
            assert torch.equal(a, b)
            assert b.is_contiguous(memory_format=torch.channels_last)


def test_control_a_lost_turn_and_another_choice_are_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two = both(make((9, 12), scale=2))
    monkeypatch.setattr(host, "turn", lambda image, way: image)
    assert not torch.equal(to_tensor(one.draw()[1]), two.draw()[1])
    monkeypatch.undo()
    one, two = both(make((9, 12), scale=2), colours=True)
    monkeypatch.setattr(host, "ORDERS", ((0, 1, 2),) * 6)
    assert not torch.equal(to_tensor(one.draw()[1]), two.draw()[1])
    monkeypatch.undo()
    one, two = both(make((9, 12), scale=2), negatives=True)
    monkeypatch.setattr(host, "turn", lambda image, way: turn(image, way % NEGATIVE))
    assert not torch.equal(to_tensor(one.draw()[1]), two.draw()[1])
    monkeypatch.undo()
    one, two = both(make((9, 12), scale=2), choices=3)
    monkeypatch.setattr(resident, "detail", lambda crops: torch.zeros(len(crops)))
    assert not torch.equal(to_tensor(one.draw()[1]), two.draw()[1])


def test_of_equally_detailed_crops_the_first_is_taken() -> None:
    pairs = make((9, 12), (20, 7), scale=2)
    for picture in pairs.lr:
        picture[:] = 7
    one, two = both(pairs, choices=4)
    assert torch.equal(to_tensor(one.draw()[1]), two.draw()[1])


def test_detail_agrees_to_the_bit() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (6, 7, 7, 3), np.uint8)
    expected = [host.detail(crop) for crop in crops]
    assert resident.detail(torch.from_numpy(crops)).tolist() == expected


def test_variants_share_the_memory_of_their_sharp_picture() -> None:
    _, sampler = both(make((9, 12), (20, 7), scale=2, variants=5))
    assert len(sampler._hr.pixels) == 4 * (9 * 12 + 20 * 7)
    assert len(sampler._lr.pixels) == 5 * (9 * 12 + 20 * 7)


def test_pictures_must_fit_a_gpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sampler, _ = both(make((9, 12), scale=2))
    assert fits(sampler, CPU)
    needed = 5 * 9 * 12 * 3
    for free, enough in ((needed * 2, True), (needed, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda place, free=free: (free, free))
        assert fits(sampler, torch.device("cuda", 0)) is enough

"""fast, balanced and best: which network, which steps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from loopsr import UsageError
from loopsr.card import ModelCard
from loopsr.engine.quality import usual_models
from loopsr.engine.upscaler import Upscaler
from loopsr.errors import UnknownNameError, WeightsError
from loopsr.weights import catalogue

pytestmark = pytest.mark.usefixtures("family")


def picture() -> np.ndarray:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (30, 40, 3), np.uint8)
    pixels[:, :20] = 100 + np.arange(20)[None, :, None]
    return pixels


def test_fast_takes_the_smallest_and_the_fewest_useful_steps() -> None:
    assert usual_models("fast") == {2: "loop-s-x2", 4: "loop-x4"}
    assert usual_models("best") == usual_models("balanced") == {2: "loop-x2", 4: "loop-x4"}
    plan = Upscaler(quality="fast").plan((40, 30), scale=2)
    # 29.8 dB is within 0.3 of 30.0, 29.0 is not.
    assert [(s.card.name, s.card.iters, s.rule) for s in plan.stages] == [("loop-s-x2", 2, None)]
    plan = Upscaler(quality="fast").plan((40, 30), scale=4)
    assert [(s.card.name, s.card.iters) for s in plan.stages] == [("loop-x4", 3)]  # no figures
    # A network that was named is kept.
    plan = Upscaler("loop-x2", quality="fast").plan((40, 30), scale=2)
    assert [(s.card.name, s.card.iters) for s in plan.stages] == [("loop-x2", 2)]


def test_balanced_adapts_and_best_does_not() -> None:
    for upscaler, adaptive in ((Upscaler(), True), (Upscaler(quality="best"), False)):
        (stage,) = upscaler.plan((40, 30), scale=2).stages
        assert (stage.rule is not None) == adaptive
    best = Upscaler(quality="best")(picture(), scale=2)
    assert np.array_equal(best, Upscaler(iters=3)(picture(), scale=2))
    assert np.array_equal(best, Upscaler(quality="best", tile=8)(picture(), scale=2))
    balanced = Upscaler()(picture(), scale=2)
    assert np.array_equal(balanced, Upscaler(quality="balanced", tile=8)(picture(), scale=2))
    assert not np.array_equal(balanced, best)
    noisy = np.s_[:, 60:]  # all steps there
    assert np.abs(balanced[noisy].astype(int) - best[noisy]).max() <= 1
    # Where nothing is known, all steps run.
    four = Upscaler()(picture(), scale=4)
    assert np.array_equal(four, Upscaler(quality="best")(picture(), scale=4))


def test_grey_and_alpha_adapt_too() -> None:
    for channels in (1, 2, 4):
        pixels = np.repeat(picture()[..., :1], channels, axis=2)
        pixels[..., -1] = picture()[..., 1]
        balanced = Upscaler()(pixels, scale=2)
        best = Upscaler(quality="best")(pixels, scale=2)
        assert balanced.shape == best.shape == (60, 80, channels)
        assert np.abs(balanced[:, 60:].astype(int) - best[:, 60:]).max() <= 1


def test_qualities_have_identities_of_their_own() -> None:
    wishes = ({}, {"quality": "fast"}, {"quality": "best"}, {"iters": 1}, {"iters": 2})
    assert len({str(Upscaler("loop-x2", **wish).identity()) for wish in wishes}) == len(wishes)


def test_wishes_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="iters 2 and quality best contradict"):
        Upscaler(quality="best", iters=2)
    with pytest.raises(UnknownNameError, match="quality 'bset' is unknown; did you mean best"):
        Upscaler(quality="bset")
    with pytest.raises(UsageError, match="iters is 4, loop-x2 runs 1 to 3"):
        Upscaler("loop-x2", iters=4)
    with pytest.raises(UsageError, match="iters is 4, loop-x4 runs 1 to 3"):
        Upscaler(iters=4).plan((40, 30), scale=4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cell": 4},
        {"cell": "8"},
        {"stops": [1, 2]},
        {"stops": [2, 1, 3]},
        {"stops": [-1, 1, 2]},
        {"stops": [1, 2, 4]},
        {"stops": None},
        {"thresholds": [0.3, 0.05]},
        {"thresholds": [0.1, float("nan")]},
        {"thresholds": "ab"},
        {"sharpen": [0.1] * 4},
        {"sharpen": [0.1, 0.1, 0.1, 0.1, 1.5]},
        {"sharpen": [0.1, 0.1, 0.1, 0.1, "0"]},
        {"sharpen": 0.1},
        {"psnr": [1, "2"]},
        {"psnr": 3},
    ],
)
def test_a_card_with_a_rule_that_makes_no_sense(wrong: dict[str, object]) -> None:
    card = catalogue.card("loop-x2")
    card = dataclasses.replace(card, steps=card.steps | wrong)
    with pytest.raises(WeightsError, match="steps that make no sense"):
        ModelCard.from_json(card.to_json())

"""What a teacher makes becomes part of the targets, once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from loopsr.data.degrade import pipeline
from loopsr.data.sources import Pairs, find_pictures, load_pairs
from loopsr.engine.upscaler import Upscaler
from loopsr.errors import BackendError, UnknownNameError, UsageError
from loopsr.recipes import find_recipe
from loopsr.train import teacher
from loopsr.train.loop import train
from loopsr.train.recipe import override
from loopsr.train.run import pictures as pictures_of

TEACHER = "loop-xs-x2"


@pytest.fixture
def pairs(pictures: Path) -> Pairs:
    files = find_pictures([pictures])
    return load_pairs(files, scale=2, steps=pipeline("bicubic"), copies=1)


def test_targets_are_the_mean_by_share(pairs: Pairs) -> None:
    upscale = Upscaler(TEACHER, quality="best", backend="onnxruntime")
    for share in (0.25, 1.0):
        taught = teacher.taught(pairs, teacher=TEACHER, share=share)
        assert taught.lr is pairs.lr
        for lr, sharp, target in zip(pairs.lr, pairs.hr, taught.hr, strict=True):
            made = upscale(np.array(lr), scale=2).astype(np.float64)
            assert np.abs(share * made + (1 - share) * sharp - target).max() <= 0.5 + 1e-4
            assert np.abs(made - sharp).max() > 10  # so that a wrong share would be seen


def test_made_once_and_anew_for_another_share_or_teacher(
    pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = teacher.taught(pairs, teacher=TEACHER, share=0.5)

    def refuse(*_: object, **__: object) -> None:
        raise BackendError("made again")

    monkeypatch.setattr(Upscaler, "__call__", refuse)
    again = teacher.taught(pairs, teacher=TEACHER, share=0.5)
    assert again.key == first.key != pairs.key
    assert all(map(np.array_equal, again.hr, first.hr))
    for other in ({"share": 0.6}, {"teacher": "loop-s-x2"}):
        with pytest.raises(BackendError, match="made again"):
            teacher.taught(pairs, **({"teacher": TEACHER, "share": 0.5} | other))


def test_stopped_in_between_it_leaves_nothing(
    pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail(self: Upscaler, image: np.ndarray, **_: object) -> np.ndarray:
        calls.append(image)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return image.repeat(2, 0).repeat(2, 1)

    monkeypatch.setattr(Upscaler, "__call__", fail)
    with pytest.raises(KeyboardInterrupt):
        teacher.taught(pairs, teacher=TEACHER, share=0.5, cache=tmp_path / "here")
    assert list((tmp_path / "here").iterdir()) == []


def test_another_scale_or_no_such_teacher(pairs: Pairs) -> None:
    with pytest.raises(UsageError, match="loop-x4 enlarges 4 times, x2 was expected"):
        teacher.taught(pairs, teacher="loop-x4", share=0.5)
    with pytest.raises(UnknownNameError, match="did you mean loop-x4"):
        teacher.taught(pairs, teacher="loop-y4", share=0.5)


def test_a_run_learns_from_it_and_is_judged_by_sharp_pictures(pictures: Path) -> None:
    recipe = find_recipe("loop_xs_finish_x2")
    assert recipe.teacher == "loop-x2"
    plain = dataclasses.replace(recipe, teacher=None)
    out = pictures.parent / "out"
    (taught, judged), (sharp, same) = (
        pictures_of(r, [pictures], [], out=out) for r in (recipe, plain)
    )
    assert taught.key != sharp.key
    assert any(not np.array_equal(a, b) for a, b in zip(taught.hr, sharp.hr, strict=True))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(judged, same, strict=True))
    settings = ["steps=2", "batch=2", "patch=8", "warm_start=loop-xs-x2", "precision=float32"]
    result = train(override(recipe, settings), hr=[pictures], out=out)
    assert result.steps == 2

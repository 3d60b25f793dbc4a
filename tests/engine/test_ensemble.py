"""Self-ensemble: eight turns, turned back, and their mean."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

from loopsr import UsageError
from loopsr.engine.backends import open_backend
from loopsr.engine.ensemble import SelfEnsemble
from loopsr.engine.opener import open_model
from loopsr.engine.upscaler import Upscaler
from loopsr.metrics.psnr import psnr_y
from loopsr.ops.resize import resize
from loopsr.weights import catalogue

from ..conftest import Make

Photo = Callable[[int, int], NDArray[np.float32]]


def test_the_mean_over_all_turns_and_flips(family: Path, photo: Photo) -> None:
    card, path = catalogue.find("loop-x2", kind="onnx")
    backend = open_backend("onnxruntime", card, path, threads=1)
    picture = photo(14, 19)

    def one(image: NDArray[np.float32]) -> NDArray[np.float32]:
        window = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
        return backend.run(window)[0].transpose(1, 2, 0)

    outputs = []
    for quarter in range(4):
        outputs.append(np.rot90(one(np.rot90(picture, quarter)), -quarter))
        mirrored = np.rot90(one(np.rot90(picture[:, ::-1], quarter)), -quarter)
        outputs.append(mirrored[:, ::-1])
    assert min(np.abs(a - outputs[0]).max() for a in outputs[1:]) > 1e-3  # eight other guesses
    mean = np.mean(outputs, axis=0)
    model = SelfEnsemble(backend).run(picture.transpose(2, 0, 1)[None])[0].transpose(1, 2, 0)
    assert np.abs(model - mean).max() < 1e-6
    whole = Upscaler("loop-x2", self_ensemble=True)(picture)
    assert np.abs(whole - mean.clip(0, 1)).max() < 1e-6


@pytest.mark.usefixtures("family")
def test_tiles_change_nothing(photo: Photo) -> None:
    picture = photo(37, 50)
    whole = Upscaler("loop-x2", self_ensemble=True)(picture)
    tiled = Upscaler("loop-x2", self_ensemble=True, tile=16)(picture)
    assert np.abs(whole - tiled).max() < 1e-5
    once = Upscaler("loop-x2", quality="best")(picture)
    assert np.abs(whole - once).max() > 1e-3


def test_it_is_closer_to_the_truth() -> None:
    """Of the sample, with the weights that ship."""
    sample = resources.files("loopsr.apps") / "assets" / "osprey.png"
    with resources.as_file(sample) as path:
        sharp = pyvips.Image.new_from_file(str(path)).numpy()[..., :3]
    small = resize(sharp, scale=1 / 2)
    once, mean = (
        psnr_y(upscaler(small), sharp, border=2)
        for upscaler in (
            Upscaler("loop-x2", quality="best"),
            Upscaler("loop-x2", self_ensemble=True),
        )
    )
    assert mean > once + 0.02


@pytest.mark.usefixtures("family")
def test_all_steps_eight_times() -> None:
    (once,) = Upscaler("loop-x2", quality="best").plan((40, 30)).stages
    (mean,) = Upscaler("loop-x2", self_ensemble=True).plan((40, 30)).stages
    assert mean.rule is None
    assert mean.cost == 8 * once.cost
    assert mean.memory > once.memory
    fast = Upscaler("loop-x2", quality="fast", self_ensemble=True).plan((40, 30))
    assert fast.stages[0].card.iters == 2
    wishes = ({}, {"quality": "best"}, {"self_ensemble": True})
    assert len({str(Upscaler("loop-x2", **wish).identity()) for wish in wishes}) == 3


def test_wishes_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="quality balanced and self_ensemble contradict"):
        Upscaler(quality="balanced", self_ensemble=True)
    with pytest.raises(UsageError, match="self_ensemble and a deadline contradict"):
        Upscaler(deadline=5, self_ensemble=True)


@pytest.mark.usefixtures("family")
def test_models_of_eval(make_onnx: Make, photo: Photo) -> None:
    picture = (255 * photo(11, 14)).astype(np.uint8)
    model = open_model("loop", scale=2, self_ensemble=True)
    assert model.name == "loop-x2+"
    assert np.array_equal(model(picture), Upscaler("loop-x2", self_ensemble=True)(picture))
    window = photo(11, 14).transpose(2, 0, 1)[None]
    assert model.network is not None
    assert np.array_equal(
        model.network().run(window), SelfEnsemble(open_model("loop", scale=2).network()).run(window)
    )
    other = open_model(make_onnx(), self_ensemble=True)
    assert other.name == "other+"
    assert np.array_equal(other(picture), picture.repeat(2, axis=0).repeat(2, axis=1))
    assert open_model("bicubic", scale=2, self_ensemble=True).name == "bicubic"

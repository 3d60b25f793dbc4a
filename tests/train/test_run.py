"""What a run begins from: its pictures, its judges, its folder, the weights before it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch

from loopsr.errors import LoopsrError, TrainingError, UsageError
from loopsr.train import run as run_module
from loopsr.train.device import find_device
from loopsr.train.loop import train
from loopsr.train.recipe import OptimSettings
from loopsr.train.run import pictures as pictures_of

from .conftest import RECIPE, run


def save(path: Path, side: int) -> None:
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    pyvips.Image.new_from_array(pixels).write_to_file(str(path))


def test_judges_are_pictures_that_can_be_measured(pictures: Path, tmp_path: Path) -> None:
    """The first files of the folder are broken or smaller than what a border leaves."""
    (pictures / "-a.png").write_bytes(b"no picture")
    save(pictures / "-b.png", 5)
    whole = (pictures / "0.png").read_bytes()
    (pictures / "-c.png").write_bytes(whole[: len(whole) // 2])
    pairs, judges = pictures_of(RECIPE, [pictures], [], out=tmp_path / "out")
    assert [hr.shape[:2] for _, hr in judges] == [(40, 32)]  # 0.png
    assert "0.png" not in pairs.names
    run(pictures, tmp_path / "out")
    for name in "012":
        (pictures / f"{name}.png").unlink()
    with pytest.raises(UsageError, match="none of 3 pictures can be validated on"):
        run(pictures, tmp_path / "other")


def test_the_run_folder_holds_no_training_pictures(pictures: Path) -> None:
    out = pictures / "runs" / "one"
    out.mkdir(parents=True)
    before = pictures_of(RECIPE, [pictures], [], out=out)[0]
    save(out / "log.png", 40)
    assert pictures_of(RECIPE, [pictures], [], out=out)[0].key == before.key
    # Pictures that lie in the run folder because their own folder does are meant.
    assert pictures_of(RECIPE, [pictures], [], out=pictures.parent)[0].key != before.key


def test_a_run_that_cannot_begin_leaves_no_folder(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError):
        train(RECIPE, hr=[tmp_path / "nowhere"], out=out, device="cpu")
    assert not out.exists()
    run(pictures, out)
    assert (out / "log.jsonl").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"warm_start": "runs/loop_x2/loop-x2.safetensors"}, "--set warm_start=loop-x2"),
        ({"warm_start": "runs/own/mine.safetensors"}, "--set warm_start=FILE"),
        ({"warm_start": "loop-x7"}, "did you mean"),
        ({"teacher": "nowhere/mine.onnx"}, "mine.onnx"),
    ],
)
def test_what_is_missing_is_said_before_pictures_are_decoded(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    said: str,
) -> None:
    monkeypatch.setattr(run_module, "load_pairs", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(LoopsrError, match=said):
        run(pictures, tmp_path / "out", dataclasses.replace(RECIPE, **change))


def test_two_runs_are_not_at_work_in_one_folder(pictures: Path, tmp_path: Path) -> None:
    out, tried = tmp_path / "out", []

    def second(_: object) -> None:
        with pytest.raises(TrainingError, match="another run is at work in"):
            run(pictures, out)
        tried.append(True)

    train(RECIPE, hr=[pictures], out=out, threads=1, device="cpu", report=second)
    assert tried
    run(pictures, out)  # the lock went with the run


def test_a_network_that_makes_no_numbers_is_not_packaged(pictures: Path, tmp_path: Path) -> None:
    wild = dataclasses.replace(
        RECIPE, optim=OptimSettings(name="adam", learning_rate=1e30, warmup=0.0), ema=0.0, steps=1
    )
    with pytest.raises(TrainingError, match="not finite"):
        run(pictures, tmp_path / "out", wild)


@pytest.mark.parametrize("name", ["meta", "mps", "gpu"])
def test_other_devices_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="use auto, cpu or cuda"):
        find_device(name)
    assert find_device("cpu") == torch.device("cpu")

"""--quality, --time-limit and --show-steps as a user types them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import torch

from loopsr import Upscaler, models
from loopsr.engine.heatmap import draw, palette
from loopsr.engine.stepmap import StepMap
from loopsr.export.package import make_card, write_package

from .conftest import Loopsr


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with three steps and a rule."""
    torch.manual_seed(0)
    network = models.create("loop", scale=2, width=6, own=0, depth=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    card = make_card(network, name="loop-x2", kind="loop")
    rule: dict[str, Any] = {"cell": 8, "stops": [0, 1, 3], "thresholds": [0.05, 0.3]}
    folder = tmp_path_factory.mktemp("model")
    steps = {**rule, "psnr": [29.0, 29.9, 30.0]}
    write_package(network, folder, card=dataclasses.replace(card, steps=steps))
    return folder / "loop-x2.onnx"


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """48x32: at the left a slope, at the right noise."""
    pixels = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)
    pixels[:, :24] = 100 + np.arange(24)[None, :, None]
    pyvips.Image.new_from_array(pixels).write_to_file(str(tmp_path / "half.png"))
    return tmp_path / "half.png"


def told(run: Any) -> dict[str, Any]:
    assert run.returncode == 0, run.stderr
    result: dict[str, Any] = json.loads(run.stdout)
    return result


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        (["--quality", "best"], 3.0),
        (["--quality", "fast"], 2.0),
        (["--iters", "1"], 1.0),
        (["--quality", "best", "--time-limit", "10min"], 3.0),
    ],
)
def test_steps_are_told(
    loopsr: Loopsr, half: Path, model: Path, options: list[str], steps: float
) -> None:
    run = loopsr("upscale", "half.png", "-m", model, "-o", "large.png", "--json", *options)
    result = told(run)
    assert (result["steps"], result["bicubic"]) == (steps, 0.0)


def test_self_ensemble(loopsr: Loopsr, half: Path, model: Path) -> None:
    options = ["upscale", "half.png", "-m", model, "--json"]
    assert told(loopsr(*options, "-o", "one.png", "--quality", "best"))["steps"] == 3.0
    assert told(loopsr(*options, "-o", "mean.png", "--self-ensemble"))["steps"] == 3.0
    one, mean, source = (
        pyvips.Image.new_from_file(name).numpy() for name in ("one.png", "mean.png", "half.png")
    )
    assert np.array_equal(mean, Upscaler(model, self_ensemble=True)(source))
    assert not np.array_equal(mean, one)
    run = loopsr("upscale", "half.png", "--self-ensemble", "--time-limit", "5s")
    assert run.returncode == 2
    assert b"self_ensemble and a deadline contradict" in run.stderr


def test_the_map_shows_where_steps_were_taken(loopsr: Loopsr, half: Path, model: Path) -> None:
    run = loopsr("upscale", "half.png", "-m", model, "--json", "--show-steps", "map.png")
    assert 0 < told(run)["steps"] < 3
    shown = pyvips.Image.new_from_file("map.png").numpy()
    colours = palette(3)
    scale = 320 // 48
    assert shown.shape[1] == 48 * scale
    assert shown.shape[0] > 32 * scale  # and a legend
    assert shown[8 * scale, 8 * scale].tolist() == colours[0].tolist()
    assert shown[8 * scale, 40 * scale].tolist() == colours[3].tolist()
    # What is there is kept.
    again = loopsr("upscale", "half.png", "-m", model, "-o", "b.png", "--show-steps", "map.png")
    assert again.returncode == 2
    assert b"map.png: the file exists" in again.stderr


def test_neither_a_map_nor_a_result_replaces_an_input(
    loopsr: Loopsr, half: Path, model: Path
) -> None:
    before = half.read_bytes(), model.read_bytes()
    Path("link.png").hardlink_to(half)
    for options in (
        ("--show-steps", "half.png"),
        ("--show-steps", "link.png"),
        ("-o", model, "--format", "png"),
    ):
        run = loopsr("upscale", "half.png", "-m", model, "--overwrite", *options)
        assert (run.returncode, run.stderr.count(b"\n")) == (2, 1), options
        assert b"an input is never overwritten" in run.stderr
    assert (half.read_bytes(), model.read_bytes()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--quality", "best", "--iters", "2"], "iters 2 and quality best contradict"),
        (["--quality", "slow"], "quality 'slow' is unknown"),
        (["--time-limit", "0s"], "got '0s', a time such as 5s"),
        (["--time-limit", "soon"], "got 'soon', a time such as 5s"),
        (["--time-limit", "5s", "--iters", "2"], "iters 2 and a deadline contradict"),
        (["--time-limit", "5s", "-j", "2"], "one picture at a time"),
        (["--time-limit", "5s", "--engine", "ray", "-o", "big/"], "one picture at a time"),
        (["--show-steps", "map.jpg"], "pass FILE.png"),
        (["--show-steps", "no/map.png"], "there is no folder no"),
        (["other.png", "--show-steps", "map.png"], "--show-steps shows one picture"),
    ],
)
def test_wishes_that_cannot_be(
    loopsr: Loopsr, half: Path, options: list[str], message: str
) -> None:
    run = loopsr("upscale", "half.png", *options)
    assert run.returncode == 2
    assert message in run.stderr.decode()
    assert {path.name for path in loopsr.folder.iterdir()} == {"half.png"}


def test_a_video_has_no_time_limit(loopsr: Loopsr) -> None:
    run = loopsr("upscale", "clip.mp4", "--time-limit", "5s")
    assert run.returncode == 2
    assert b"clip.mp4 is a video; pass --quality fast" in run.stderr


def test_a_limit_that_is_too_short_leaves_nothing(loopsr: Loopsr, half: Path, model: Path) -> None:
    run = loopsr("upscale", "half.png", "-m", model, "--time-limit", "0.000001s")
    assert run.returncode == 2
    assert b"is too short: reading, enlarging by bicubic and writing take about" in run.stderr
    assert {path.name for path in loopsr.folder.iterdir()} == {"half.png"}


def test_a_map_counts_pixels() -> None:
    taken = StepMap(unit=8)
    taken.add((0, 16, 0, 20), np.array([[1, 1, 3], [1, 1, 3]], np.int8))
    taken.add((16, 20, 0, 20), 0)
    assert taken.mean() == pytest.approx((16 * 16 * 1 + 16 * 4 * 3) / 400, abs=1e-3)
    steps = taken.pixels(20, 20)
    assert steps.shape == (20, 20)
    assert np.bincount(steps.ravel()).tolist() == [80, 256, 0, 64]
    assert taken.pixels(20, 20, most=7).tolist() == steps[::3, ::3].tolist()
    assert StepMap().mean() is None


def test_a_legend_has_all_steps_however_many() -> None:
    steps = np.arange(13, dtype=np.int8).repeat(4)[None].repeat(10, axis=0)
    shown = draw(steps, most=12)
    assert {tuple(c) for c in palette(12)} <= {tuple(c) for c in shown[60:].reshape(-1, 3)}

"""The rule of a card: as few steps as the loss allows, on pictures whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch

from loopsr import models
from loopsr.data.sources import Pairs
from loopsr.export.calibrate import Cells, find_rule, fit_sharpen, main, outcome
from loopsr.export.package import make_card, write_package
from loopsr.ops.enlarge import enlarge, sharpened
from loopsr.weights import catalogue


def made(*, seed: int, gains: tuple[float, ...], count: int = 400) -> Cells:
    """Cells of which those with much detail gain from steps: errors fall by ``gains`` each."""
    rng = np.random.default_rng(seed)
    detail = rng.uniform(0, 1, count)
    errors = [np.full(count, 4000.0), np.full(count, 1000.0)]
    for gain in gains:
        errors.append(errors[-1] * (1 - gain * (detail > 0.5)))
    return Cells(detail=detail, errors=np.array(errors), pixels=np.full(count, 64.0))


def with_bicubic(one: Cells) -> Cells:
    """The same, and bicubic does as well as one step where there is little detail."""
    smooth = one.detail < 0.4
    errors = one.errors.copy()
    errors[0, smooth] = errors[1, smooth]
    return Cells(detail=one.detail, errors=errors, pixels=one.pixels)


def test_smooth_cells_stop_and_others_go_on() -> None:
    cells = [made(seed=1, gains=(0.5, 0.3)), made(seed=2, gains=(0.5, 0.3))]
    rule = find_rule(cells, stops=[1, 2, 3], loss=0.001)
    assert rule["stops"] == [1, 2, 3]
    assert rule["thresholds"] == pytest.approx([0.5, 0.5], abs=0.01)
    assert rule["mean"] == pytest.approx(2, abs=0.05)
    assert rule["loss"] <= 0.001


@pytest.mark.parametrize("loss", [0.003, 0.02, 0.1])
def test_the_loss_is_kept(loss: float) -> None:
    rng = np.random.default_rng(0)
    cells = []
    for one in (made(seed=s, gains=(0.2, 0.1, 0.05)) for s in range(3)):
        errors = one.errors * rng.uniform(0.95, 1.05, one.errors.shape)
        cells.append(Cells(detail=one.detail, errors=errors, pixels=one.pixels))
    rule = find_rule(cells, stops=[1, 2, 4], loss=loss)
    lost, mean = outcome(cells, rule["stops"], rule["thresholds"])
    assert lost <= loss
    assert mean == pytest.approx(rule["mean"], abs=1e-3)
    # Planted: thresholds a little higher would lose too much, so the rule is not timid.
    if loss < 0.1:
        higher = [t + 0.1 for t in rule["thresholds"]]
        assert outcome(cells, rule["stops"], higher)[0] > loss


def test_steps_that_are_left_out_everywhere_count_as_a_loss() -> None:
    one = made(seed=1, gains=(0.5, 0.02))
    lost = one.psnr(one.errors[3]) - one.psnr(one.errors[2])  # by two steps of three, everywhere
    assert lost > 0.01
    assert outcome([one], [1, 2], [0.0]) == pytest.approx((lost, 2.0))
    assert find_rule([one], stops=[1, 2], loss=lost + 0.001)["stops"] == [1, 2]
    assert "stops" not in find_rule([one], stops=[1, 2], loss=lost / 2)


def test_bicubic_where_it_does_as_well() -> None:
    rule = find_rule([with_bicubic(made(seed=1, gains=(0.5,)))], loss=0.001)
    assert rule["stops"] == [0, 2]
    assert rule["thresholds"] == pytest.approx([0.4], abs=0.01)


def test_useless_steps_are_left_out() -> None:
    rule = find_rule([with_bicubic(made(seed=1, gains=(0.5, 0.0, 0.0)))])
    assert rule["stops"] == [0, 2]
    assert len(rule["psnr"]) == 4
    assert find_rule([made(seed=1, gains=(0.5,))], stops=[]).keys() == {"psnr", "pictures"}
    # A last step that brings less than may be lost is left out too; planted: not if it brings more.
    small = with_bicubic(made(seed=1, gains=(0.5, 0.3, 0.01)))
    gained = small.psnr(small.errors[4]) - small.psnr(small.errors[3])
    assert find_rule([small], loss=1.01 * gained)["stops"] == [0, 3]
    assert find_rule([small], loss=0.5 * gained)["stops"] == [0, 4]
    # Nothing is saved where bicubic is worse everywhere.
    assert "stops" not in find_rule([made(seed=1, gains=(0.5,))], loss=0.001)


def test_the_command_writes_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    network = models.create("loop", scale=2, width=6, own=0, depth=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    card = make_card(network, name="loop-x2", kind="loop")
    write_package(network, tmp_path, card=card)
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    (tmp_path / "hr").mkdir()
    for name in "ab":
        pyvips.Image.new_from_array(pixels).write_to_file(str(tmp_path / "hr" / f"{name}.png"))
    path = tmp_path / "loop-x2.onnx"
    arguments = [str(path), "--hr", str(tmp_path / "hr"), "--cell", "8", "--stops", "1,3"]
    assert main([*arguments, "--loss", "9", "--dry-run"]) == 0
    assert catalogue.read_card(path) == card
    assert main([*arguments, "--loss", "9"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    for kind in ("onnx", "safetensors"):
        written = catalogue.read_card(tmp_path / f"loop-x2.{kind}")
        assert written.steps == {k: v for k, v in told.items() if k != "name"}
        assert written.rule is not None
        assert written.rule.stops == (1, 3)
    assert main([str(path), "--hr", str(tmp_path / "hr"), "--stops", "3,1"]) == 2
    assert "in order" in capsys.readouterr().err
    assert main([*arguments[:-1], "few"]) == 2
    assert "--stops is 'few', expected such as 0,3 or none" in capsys.readouterr().err
    assert main([*arguments[:-1], "none"]) == 0
    assert catalogue.read_card(path).rule is None


def test_cells_that_cost_less_with_more_detail() -> None:
    """Prices find none of them or all: the rules between are found by raising the threshold."""
    detail = np.linspace(0.1, 1, 10)
    errors = np.array([1000 * (1.5 - 0.4 * detail), np.full(10, 1000.0)])
    one = Cells(detail=detail, errors=errors, pixels=np.full(10, 64.0))
    for allowed in (0.3, 0.6, 0.9):
        rule = find_rule([one], loss=allowed)
        possible = [outcome([one], [0, 1], [edge]) for edge in (*detail, 2.0)]
        assert rule["mean"] == pytest.approx(min(m for lost, m in possible if lost <= allowed))


def test_sharpening_is_found_again() -> None:
    """Of pictures that were made by sharpening and bicubic: the weights, up to the rounding."""
    rng = np.random.default_rng(0)
    weights = (-0.25, 0.04, 0.06, -0.02, 0.01)
    lr = tuple(rng.integers(96, 160, (3, 40, 56, 3)).astype(np.uint8))

    def made_by(weights: tuple[float, ...]) -> Pairs:
        planes = [one.transpose(2, 0, 1).astype(np.float32) for one in lr]
        large = [enlarge(sharpened(each, weights), 2).transpose(1, 2, 0) for each in planes]
        hr = tuple(np.round(each).astype(np.uint8) for each in large)
        return Pairs(scale=2, names=("a", "b", "c"), hr=hr, lr=lr, key="")

    assert fit_sharpen(made_by(weights), scale=2) == pytest.approx(weights, abs=2e-3)
    # Planted: nothing was lost, so there is nothing to sharpen.
    assert fit_sharpen(made_by(()), scale=2) == pytest.approx([0] * 5, abs=2e-3)

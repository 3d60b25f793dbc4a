"""``loopsr train``: list, settings, a short run to packaged weights, wrong arguments."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from loopsr.cli.train import command
from loopsr.errors import UnknownNameError, UsageError
from loopsr.export.package import rewrite_card
from loopsr.recipes import RECIPES
from loopsr.weights.catalogue import read_card

if TYPE_CHECKING:
    from click.testing import Result

SHORT = ["--threads", "1", "--device", "cpu"]
for setting in ("seconds=null", "steps=2", "batch=2", "patch=8", "network_config.iters=1"):
    SHORT += ["--set", setting]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import numpy as np
    import pyvips

    monkeypatch.setenv("LOOPSR_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "hr"
    folder.mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 40, 3), np.uint8)
        pyvips.Image.new_from_array(pixels).write_to_file(str(folder / f"{i}.png"))
    return folder


def test_list_and_show() -> None:
    assert run("--list").stdout.split() == list(RECIPES)
    shown = json.loads(run("lrn_x4", "--show", "--set", "steps=7").stdout)
    assert (shown["network"], shown["scale"], shown["steps"]) == ("lrn", 4, 7)


def test_a_run_ends_in_packaged_and_scored_weights(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["lrn_x2", "--hr", pictures, "--out", out, *SHORT, "--bench", pictures]
    result = run(*arguments)
    line = json.loads(result.stdout)
    assert (line["name"], line["steps"]) == ("lrn-x2", 2)
    assert set(line["scores"]["hr"]) == {"psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb"}
    assert "step 2" in result.stderr
    files = {path.name for path in out.iterdir()}
    expected = {"checkpoint.safetensors", "log.jsonl", "lrn-x2.onnx", "lrn-x2.safetensors"}
    assert files == expected | {"golden"}
    before = (out / "checkpoint.safetensors").read_bytes()
    again = json.loads(run("lrn_x2", "--out", out, "--package-only").stdout)
    assert again["steps"] == 2
    assert (out / "checkpoint.safetensors").read_bytes() == before


def test_a_card_names_the_runs_before(pictures: Path, tmp_path: Path) -> None:
    """What a warm start began from is known from its card; a checkpoint has none."""

    def card(out: str, start: str) -> dict[str, Any]:
        warm = ["--set", f"warm_start={tmp_path / start}"] if start else []
        line = run("lrn_x2", "--hr", pictures, "--out", tmp_path / out, *SHORT, *warm).stdout
        return read_card(Path(json.loads(line)["files"]["safetensors"])).training

    first = card("one", "")
    second = card("two", "one/lrn-x2.safetensors")
    third = card("three", "two/lrn-x2.safetensors")
    assert "before" not in first
    assert second["before"] == [first]
    assert third["before"] == [first, {k: v for k, v in second.items() if k != "before"}]
    assert "before" not in card("four", "one/checkpoint.safetensors")


def test_tensorboard_and_plot(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run("lrn_x2", "--hr", pictures, "--out", out, *SHORT, "--tensorboard", "--resident")
    (events,) = (out / "tensorboard").iterdir()
    assert events.name.startswith("events.out.tfevents")
    assert run("--plot", out).stdout == f"{out / 'log.png'}\n"
    assert (out / "log.png").read_bytes().startswith(b"\x89PNG")
    target = tmp_path / "both.svg"
    run("--plot", out, out / "log.jsonl", "--out", target)
    assert target.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ([], UsageError, "no recipe was given; use one of loop_x2"),
        (["lrn_x2", "lrn_x4"], UsageError, "each folder takes an --hr of its own"),
        (["--plot"], UsageError, "no run was given; type: loopsr train --plot"),
        (["--plot", "no-such-run"], UsageError, "no log.jsonl in no-such-run"),
        (["lrnx4"], UnknownNameError, "did you mean lrn_x4"),
        (["lrn_x4"], UsageError, "type --hr FOLDER"),
        (["lrn_x4", "--set", "step=1"], UnknownNameError, "did you mean steps"),
        (["lrn_x4", "--hr", "no-such-folder"], UsageError, "no folder or picture 'no-such-folder'"),
        (["lrn_x4", "--package-only"], UsageError, "no run in"),
    ],
)
def test_wrong_arguments(
    arguments: list[str],
    error: type[UsageError],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        run(*arguments)


def trained(pictures: Path, out: Path, *settings: str) -> Path:
    """A short run; the file of its weights."""
    changed = [part for setting in settings for part in ("--set", setting)]
    line = run("lrn_x2", "--hr", pictures, "--out", out, *SHORT, *changed).stdout
    return Path(json.loads(line)["files"]["onnx"])


def test_a_card_does_not_claim_the_pictures_of_what_ships(pictures: Path, tmp_path: Path) -> None:
    file = trained(pictures, tmp_path / "a")
    assert read_card(file).data == "own pictures"
    run("lrn_x2", "--out", tmp_path / "a", "--package-only")
    assert read_card(file).data == "own pictures"
    said = trained(pictures, tmp_path / "b", "data=my holidays (CC0)")
    assert read_card(said).data == "my holidays (CC0)"
    tuned = read_card(trained(pictures, tmp_path / "c", "warm_start=lrn-x2"))
    assert tuned.data.startswith("own pictures, after those of lrn-x2: CID22")


def test_a_card_names_no_place_of_this_machine(pictures: Path, tmp_path: Path) -> None:
    first = trained(pictures, tmp_path / "a")
    start = f"warm_start={first.with_suffix('.safetensors')}"
    card = read_card(trained(pictures, tmp_path / "b", f"teacher={first}", start))
    assert card.training["recipe"]["teacher"] == "lrn-x2"
    assert str(tmp_path) not in card.to_json()


def test_what_was_measured_stays_while_the_weights_do(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    file = trained(pictures, out)
    card = dataclasses.replace(
        read_card(file), scores={"Set5": {"psnr_y": 30.0}}, steps={"psnr": [30.0]}
    )
    rewrite_card(out, card)
    trained(pictures, out)  # nothing is left to train: it is packaged again
    assert (read_card(file).scores, read_card(file).steps) == (card.scores, card.steps)
    (out / "checkpoint.safetensors").unlink()
    trained(pictures, out, "seed=1")
    assert (read_card(file).scores, read_card(file).steps) == ({}, {})


def test_a_run_is_not_packaged_as_another(pictures: Path, tmp_path: Path) -> None:
    trained(pictures, tmp_path / "run")
    with pytest.raises(UsageError, match="is a run of lrn-x2, not of loop-x2"):
        run("loop_x2", "--out", tmp_path / "run", "--package-only")


def test_sets_of_one_name_are_scored_apart(pictures: Path, tmp_path: Path) -> None:
    sets = [tmp_path / "sets" / name / "HR" for name in "AB"]
    for folder in sets:
        folder.mkdir(parents=True)
        (folder / "0.png").write_bytes((pictures / "0.png").read_bytes())
    bench = [part for folder in sets for part in ("--bench", folder)]
    line = run("lrn_x2", "--hr", pictures, "--out", tmp_path / "run", *SHORT, *bench).stdout
    assert set(json.loads(line)["scores"]) == {"A", "B"}

"""What `models` and `doctor` say."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from loopsr.cli import main
from loopsr.export.package import rewrite_card
from loopsr.weights import catalogue

from .conftest import Loopsr


def test_models_table(loopsr: Loopsr) -> None:
    run = loopsr("models")
    assert run.returncode == 0
    rows = [line.split() for line in run.stdout.decode().splitlines() if "loop-x" in line]
    assert [row[:3] for row in rows] == [["•", f"loop-x{n}", f"x{n}"] for n in (2, 3, 4)]
    assert rows[2][3] == "65,015"


def test_sizes_are_those_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    rows = re.findall(r"^\| `((?:lrn|loop)-\S+)` \| [\d,]+ \| (\d+ kB) ", readme, re.M)
    assert len(rows) == 12
    assert main(["models"]) == 0
    table = capsys.readouterr().out
    for name, size in rows:
        assert re.search(rf" {re.escape(name)}  .* {size}  ", table), (name, size)


def test_models_json(loopsr: Loopsr) -> None:
    records = json.loads(loopsr("models", "--json").stdout)
    assert [record["name"] for record in records] == ["loop-x2", "loop-x3", "loop-x4"]
    for record in records:
        assert record["default"] is True
        assert record["bytes"] == Path(record["file"]).stat().st_size
        assert record["parameters"] < 75_000


def test_the_card_of_one(loopsr: Loopsr) -> None:
    text = loopsr("models", "loop-x4").stdout.decode()
    assert "parameters     65,015\n" in text
    assert "default        yes\n" in text
    assert json.loads(loopsr("models", "loop-x4", "--json").stdout)["halo"] == 4
    for kind in ("onnx", "safetensors"):
        path = loopsr.weights / f"loop-x2.{kind}"
        own = loopsr("models", path).stdout.decode()
        assert "default        no\n" in own
        assert f"file           {path}\nbytes          {path.stat().st_size:,}" in own
    other = loopsr("models", "some/loop-x2.pth")
    assert b"pass a .onnx or .safetensors file" in other.stderr
    unknown = loopsr("models", "loop-x5")
    assert unknown.returncode == 2
    assert b"did you mean" in unknown.stderr


def test_each_run_of_a_training_has_a_line(loopsr: Loopsr, tmp_path: Path) -> None:
    shutil.copy(loopsr.weights / "loop-x2.onnx", tmp_path)
    card = catalogue.read_card(tmp_path / "loop-x2.onnx")
    runs = [{"steps": 5, "recipe": {"batch": 8}}, {"steps": 6}]
    rewrite_card(tmp_path, dataclasses.replace(card, training={"before": runs, "steps": 7}))
    lines = loopsr("models", tmp_path / "loop-x2.onnx").stdout.decode().splitlines()
    first = lines.index("training") + 1
    assert lines[first] == "  before       recipe batch 8, steps 5"
    assert [line.strip() for line in lines[first + 1 : first + 3]] == ["steps 6", "steps        7"]


def test_a_card_of_a_stranger_writes_no_controls(loopsr: Loopsr, tmp_path: Path) -> None:
    shutil.copy(loopsr.weights / "loop-x2.onnx", tmp_path)
    card = catalogue.read_card(tmp_path / "loop-x2.onnx")
    rewrite_card(tmp_path, dataclasses.replace(card, training={"by\x1b": "me\x1b\nor\tyou"}))
    text = loopsr("models", tmp_path / "loop-x2.onnx").stdout.decode()
    assert "\n  by\\x1b       me\\x1b or\\tyou\n" in text
    assert "\x1b" not in text


def test_doctor(loopsr: Loopsr) -> None:
    run = loopsr("doctor")
    assert run.returncode == 0, run.stdout
    text = run.stdout.decode()
    for fact in ("python", "libvips", "onnxruntime", "usable of", "hash verified", "All is well."):
        assert fact in text
    facts = json.loads(loopsr("doctor", "--json").stdout)
    assert facts["weights"] == {"loop-x2": "ok", "loop-x3": "ok", "loop-x4": "ok"}
    assert facts["backends"]["onnxruntime"]["installed"] is True
    assert 1 <= facts["threads"]["usable"] <= facts["threads"]["machine"]
    assert facts["problems"] == []


def test_doctor_without_weights(
    loopsr: Loopsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loopsr.weights import catalogue

    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    run = loopsr("doctor")
    assert run.returncode == 1
    assert b"no weights are installed" in run.stdout

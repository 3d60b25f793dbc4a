"""The benchmark of instruction sets: small real runs, limited and not."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def isa(benchmarks: None) -> ModuleType:
    return importlib.import_module("isa")


def test_each_level_is_a_process_of_its_own(
    isa: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["loop-x2", "--backend", "onnxruntime", "--backend", "openvino", "--size", "16x12"]
    line += ["--rounds", "1", "--threads", "1", "--results", str(tmp_path)]
    assert isa.main(line) == 0
    (path,) = tmp_path.glob("isa_x2-*.json")
    report = json.loads(path.read_text())
    rows = {(r["backend"], r["precision"], r["isa"]): r for r in report["results"]}
    assert {isa for backend, _, isa in rows if backend == "onnxruntime"} == {""}
    for level in isa.LEVELS:
        assert rows["openvino", "float32", level]["milliseconds"] > 0
    assert "does not compute in bfloat16" in rows["openvino", "bfloat16", "AVX2"]["error"]
    assert rows["onnxruntime", "float32", ""]["file_bytes"] > 100_000
    assert report["installed_bytes"]["onnxruntime"] > 10_000_000
    assert "AVX-512" in capsys.readouterr().out


def test_a_process_that_dies_is_told(isa: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isa.sys, "executable", "/bin/false")
    rows = isa._in_process({"entries": [{}, {}]}, "AVX2")
    assert [row["error"] for row in rows] == ["the process ended with 1"] * 2


def test_unknown_model(isa: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert isa.main(["loop-x9"]) == 2
    assert "did you mean" in capsys.readouterr().err

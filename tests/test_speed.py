"""The benchmarks of speed: real small runs, and the tables that are written from them."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from loopsr.apps.bench import peaks

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module", autouse=True)
def benchmarks() -> Iterator[None]:
    sys.path.insert(0, str(ROOT / "benchmarks"))  # as Python does for a script
    yield
    sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(peaks, "SIDE", 64)
    monkeypatch.setattr(peaks, "LARGE", 1 << 20)
    return importlib.import_module("speed")


MARKS = "Before\n<!-- speed: begin (by a script) -->\nold\n<!-- speed: end -->\nAfter\n"


def test_speed_is_measured_kept_and_written(speed: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(MARKS)
    line = ["loop", "--backend", "onnxruntime", "--size", "16x12", "--rounds", "1"]
    line += ["--threads", "1", "--results", str(tmp_path), "--plots", str(tmp_path)]
    assert speed.main([*line, "--guide", str(page)]) == 0
    kept = {path.name.partition("-")[0]: path for path in tmp_path.glob("*.json")}
    assert set(kept) == {"speed_x2", "speed_x4"}
    report = json.loads(kept["speed_x4"].read_text())
    assert {"date", "commit", "processor", "machine", "peaks", "threads"} <= report.keys()
    assert report["results"][0]["frames_per_second"] > 0
    assert (tmp_path / "speed_x4.png").exists()
    text = page.read_text()
    assert text.startswith("Before\n<!-- speed: begin (by a script) -->\nFrames a second")
    assert "| | `loop-x4` 16x12 | `loop-x2` 16x12 |" in text
    assert text.endswith("<!-- speed: end -->\nAfter\n")
    assert "old" not in text
    assert speed.main([*line, "--guide", str(page)]) == 0  # again: nothing piles up
    assert page.read_text().count("Frames a second") == 1


def test_control_a_page_without_marks_is_refused(speed: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for text in ("no marks", MARKS.replace("speed: end", "spede: end")):
        page.write_text(text)
        with pytest.raises(SystemExit, match="no marks"):
            speed.fill_guide([], page)
        assert page.read_text() == text


def _report(speed: ModuleType, **rates: float) -> Any:
    """A report of `loop-x4`: backend=frames a second."""
    row: dict[str, Any] = {"model": "loop-x4", "kind": "loopsr", "precision": "float32"}
    times: dict[str, Any] = {"milliseconds": 1.0, "quartiles": (1, 1), "fastest": 1, "slowest": 1}
    rows = [
        speed.Row(**row, **times, backend=name, frames_per_second=rate, share=0.5)
        for name, rate in rates.items()
    ]
    facts: dict[str, Any] = {"date": "", "version": "", "machine": {}, "packages": {}}
    return speed.Report(**facts, threads=1, scale=4, size=(320, 180), rounds=1, rows=rows)


def test_the_best_backend_counts(speed: ModuleType) -> None:
    lines = speed.against_bars([_report(speed, onnxruntime=13.4, openvino=21.0, torch=9.0)])
    assert lines == [
        "loop-x4: 21.0 frames a second on openvino float32, 2.0 times its limit; "
        "the bar for 2 cores with AMX is 20"
    ]
    table = speed.table([_report(speed, onnxruntime=13.44), _report(speed, torch=9.0)])
    assert table.splitlines()[2] == "| onnxruntime float32 | 13.4 (50 %) |  |"


def test_a_wrong_name_ends_with_its_code(
    speed: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert speed.main(["lop"]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_limited_instructions_have_their_own_peak(
    speed: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime does not obey the limit, so its products are no peak of the others."""
    assert ("float32", "onnxruntime") in peaks.probes(1)
    monkeypatch.setenv(peaks.LIMIT, "AVX2")
    assert "onnxruntime" not in {runtime for _, runtime in peaks.probes(1)}

"""The benchmarks of speed: real small runs, and the tables that are written from them."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from loopsr.apps.bench import peaks
from loopsr.engine.machine import cpu_features

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("benchmarks")


@pytest.fixture
def speed(small_peaks: None) -> ModuleType:
    return importlib.import_module("speed")


MARKS = "Before\n<!-- speed: begin (by a script) -->\nold\n<!-- speed: end -->\nAfter\n"


def test_speed_is_measured_kept_and_written(speed: ModuleType, tmp_path: Path) -> None:
    kind = speed.kind(cpu_features())
    page = tmp_path / "page.md"
    page.write_text(MARKS.replace("speed", f"speed {kind}"))
    line = ["loop", "--backend", "onnxruntime", "--size", "16x12", "--rounds", "1"]
    line += ["--threads", "1", "--results", str(tmp_path), "--plots", str(tmp_path)]
    assert speed.main([*line, "--guide", str(page)]) == 0
    kept = {path.name.partition("-")[0]: path for path in tmp_path.glob("*.json")}
    assert set(kept) == {f"speed_x2_{kind}", f"speed_x4_{kind}"}
    report = json.loads(kept[f"speed_x4_{kind}"].read_text())
    assert {"date", "commit", "processor", "machine", "peaks", "threads"} <= report.keys()
    assert report["results"][0]["frames_per_second"] > 0
    assert (tmp_path / f"speed_x4_{kind}.png").exists()
    text = page.read_text()
    assert text.startswith(f"Before\n<!-- speed {kind}: begin (by a script) -->\nFrames a second")
    assert "| | `loop-x4` 16x12 | `loop-x2` 16x12 |" in text
    assert text.endswith(f"<!-- speed {kind}: end -->\nAfter\n")
    assert "old" not in text
    assert speed.main([*line, "--guide", str(page)]) == 0  # again: nothing piles up
    assert page.read_text().count("Frames a second") == 1


def test_the_widest_unit_names_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    report = importlib.import_module("report")
    assert report.unit(["AVX2", "FMA"]) == "AVX2"
    assert report.unit(["AVX2", "AVX-512", "AVX-512 VNNI"]) == "AVX-512"
    assert report.unit(["AVX2", "AVX-512", "AMX", "AMX BF16"]) == "AMX"
    assert report.unit([]) == ""
    monkeypatch.setattr(report, "cpu_name", lambda: "Some CPU")
    for features, name in (["NEON"], "Some CPU, NEON"), ([], "Some CPU"):
        monkeypatch.setattr(report, "cpu_features", lambda features=features: features)
        assert report.processor() == name


def test_control_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    report = importlib.import_module("report")
    page = tmp_path / "page.md"
    for text in ("no marks", MARKS.replace("speed: end", "spede: end")):
        page.write_text(text)
        with pytest.raises(SystemExit, match="no marks"):
            report.fill_part(page, "speed", "new")
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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_growth_of_time_and_memory(tmp_path: Path) -> None:
    growth = importlib.import_module("growth")
    page = tmp_path / "page.md"
    page.write_text(MARKS.replace("speed", "growth"))
    line = ["--megapixels", "0.01,0.04", "--tiles", "32", "--tile-megapixels", "0.01"]
    line += ["--results", str(tmp_path), "--guide", str(page), "--", "--threads", "1"]
    assert growth.main(line) == 0
    (kept,) = tmp_path.glob("growth-*.json")
    results = json.loads(kept.read_text())["results"]
    assert [row["source"] for row in results["sizes"]] == [[100, 100], [200, 200]]
    assert results["sizes"][1]["target"] == [400, 400]
    assert [row["tile"] for row in results["tiles"]] == [32, None]
    assert all(row["seconds"] > 0 and row["peak_bytes"] > 20e6 for row in results["sizes"])
    assert "| 0.0 | 32 |" in page.read_text()


def test_road_of_a_picture(tmp_path: Path) -> None:
    road = importlib.import_module("road")
    page = tmp_path / "page.md"
    page.write_text(MARKS.replace("speed", "road"))
    line = ["--megapixels", "0.2", "--rounds", "1", "--threads", "1"]
    assert road.main([*line, "--results", str(tmp_path), "--guide", str(page)]) in (0, 1)
    (kept,) = tmp_path.glob("road_onnxruntime_float32-*.json")
    (result,) = json.loads(kept.read_text())["results"]
    assert result["source"] == ["jpg", 447, 447]
    assert result["target"] == ["jpg", 894, 894]
    assert result["model"] == "loop-x2"
    assert "network" in result["stages"]["main"]
    # Figures are rounded to a millisecond: the sum may be half of one too large for each.
    stages = result["stages"]["main"].values()
    assert sum(stages) <= 1.01 * result["seconds"] + 0.0005 * (len(stages) + 1)
    assert result["price"] == pytest.approx(
        1 - result["network_alone"] / result["seconds"], abs=0.01
    )
    assert "| main | network |" in page.read_text()


def test_road_knows_what_threads_do(tmp_path: Path) -> None:
    """Every stage is found where it happens, and the list names no file that is gone."""
    road = importlib.import_module("road")
    for start, function, _ in road.STAGES:
        path = Path(road.PACKAGE) / start
        assert path.exists(), start
        assert path.is_dir() or f"def {function}" in path.read_text(), (start, function)
    seen = set()

    class Spy:
        """Stands for a backend: looks where its caller is seen to be."""

        name = "spy"

        def run(self, pixels: Any) -> Any:
            seen.add(road.stage_of(sys._getframe(1)))
            return pixels.repeat(2, 2).repeat(2, 3)

    from loopsr.card import ModelCard
    from loopsr.engine.tiling import upscale_rows

    card = ModelCard(name="spy-x2", network="spy", config={}, scale=2, halo=1, parameters=0)
    rows = iter([np.random.default_rng(0).random((4, 5, 3), dtype=np.float32)])
    list(upscale_rows(Spy(), card, rows, width=5, height=4, tile=8))
    assert seen == {"cut and stitch"}
    assert road.stage_of(sys._getframe()) is None  # not a part of the package


def test_tiles_that_the_network_alone_is_given(tmp_path: Path) -> None:
    """The same sizes as on the road itself, or the comparison would be none."""
    road = importlib.import_module("road")
    from loopsr import Upscaler
    from loopsr.engine.backends.onnxruntime import OnnxRuntime

    shapes = []
    original = OnnxRuntime.run
    upscaler = Upscaler("loop-x2", threads=1, backend="onnxruntime", tile=32, quality="best")
    plan = upscaler.plan((70, 50), scale=2)

    class Kept(OnnxRuntime):
        def run(self, pixels: Any) -> Any:
            shapes.append(pixels.shape[2:])
            return original(self, pixels)

    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnnxRuntime, "run", Kept.run)
        upscaler(pixels, scale=2)
    assert shapes == [(rows, columns) for _, rows, columns in road.tile_sizes(plan)]
    assert len(shapes) == 6


def test_the_script_that_measures_all_is_whole() -> None:
    text = (ROOT / "benchmarks" / "speed.sh").read_text()
    guide = (ROOT / "docs" / "guide" / "speed.md").read_text()
    for name in ("speed", "road", "growth"):
        assert f"benchmarks/{name}.py" in text
    for name in ("speed avx2", "speed avx512", "speed avx512 as avx2", "road", "growth"):
        assert f"<!-- {name}: begin" in guide
        assert f"<!-- {name}: end -->" in guide

"""A whole small benchmark: rows, limits, quality, what is left out, the picture."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import torch

from loopsr.apps.bench import peaks
from loopsr.apps.bench import run as running
from loopsr.apps.bench.entries import Entry, make_entries, runner
from loopsr.apps.bench.plot import plot
from loopsr.apps.bench.report import Report, Row
from loopsr.apps.bench.run import run
from loopsr.apps.bench.work import count_work
from loopsr.engine.backends import openvino
from loopsr.engine.foreign import spandrel as foreign
from loopsr.errors import BackendError, ImageWriteError, UsageError
from loopsr.weights import catalogue

pytestmark = pytest.mark.usefixtures("small_peaks")
QUICK: dict[str, Any] = {"size": (24, 16), "rounds": 2, "threads": 1}


@pytest.fixture
def sharp(tmp_path: Path) -> Path:
    """A set of two pictures with edges."""
    folder = tmp_path / "sharp"
    folder.mkdir()
    for number in range(2):
        y, x = np.mgrid[0:48, 0:64]
        picture = 128 + 100 * np.sign(np.sin((x + number) / 5) * np.cos(y / 7))
        pixels = np.repeat(picture.astype(np.uint8)[..., None], 3, axis=2)
        pyvips.Image.new_from_array(pixels).write_to_file(str(folder / f"{number}.png"))
    return folder


def test_a_whole_run(sharp: Path) -> None:
    steps = catalogue.card("loop-x2").iters
    assert steps is not None
    entries = make_entries(
        ["bicubic", "loop"],
        scale=2,
        backends=["onnxruntime", "openvino"],
        precisions=["float32"],
        iters=[1, steps],
    )
    told: list[tuple[str, float]] = []
    report = run(
        entries, data={"sharp": sharp}, tell=lambda what, done: told.append((what, done)), **QUICK
    )
    labels = [(row.model, row.backend, row.iters) for row in report.rows]
    assert labels == [
        ("bicubic", "", None),
        ("loop-x2@1", "onnxruntime", 1),
        ("loop-x2", "onnxruntime", steps),
        ("loop-x2@1", "openvino", 1),
        ("loop-x2", "openvino", steps),
    ]
    bicubic, short, whole, other_short, other = report.rows
    for row in report.rows:
        assert row.fastest <= row.quartiles[0] <= row.milliseconds <= row.quartiles[1]
        assert row.quartiles[1] <= row.slowest
        assert row.frames_per_second == pytest.approx(1000 / row.milliseconds, rel=0.01)
        assert row.peak_bytes is None or row.peak_bytes > 20e6
    assert (bicubic.macs, bicubic.limit_ms, bicubic.kilobytes) == (None, None, None)
    assert short.macs is not None
    assert whole.macs is not None
    assert short.macs < whole.macs == other.macs
    assert whole.limit_ms is not None
    assert whole.share == pytest.approx(whole.limit_ms / whole.milliseconds, abs=1e-3)
    assert whole.kilobytes == round(catalogue.onnx_path("loop-x2").stat().st_size / 1000, 1)
    # Both are scored, and a backend changes nothing.
    assert report.quality == "measured"
    assert short.psnr_y != whole.psnr_y
    assert whole.psnr_y == other.psnr_y
    assert short.psnr_y == other_short.psnr_y
    assert {"float32", "int8"} <= report.peaks.keys()
    assert report.left_out == []
    assert {what for what, _ in told} >= {"round 0 of 2", "round 2 of 2", "loop-x2@1 on sharp"}
    assert all(0 <= done <= 1 for _, done in told)
    json.dumps(dataclasses.asdict(report), allow_nan=False)


def test_scores_are_those_of_the_steps_and_the_precision(sharp: Path) -> None:
    from loopsr import Upscaler
    from loopsr.train.evaluate import mean_score, score_folder

    entry = Entry(model="loop-x2", scale=2, backend="torch", precision="bfloat16", iters=1)
    row = run([entry], data={"s": sharp}, **QUICK).rows[0]
    upscaler = Upscaler("loop-x2", backend="torch", precision="bfloat16", iters=1, threads=1)
    wanted = mean_score(list(score_folder(upscaler, sharp, scale=2))).values["psnr_y"]
    assert row.psnr_y["s"] == pytest.approx(wanted, abs=0.001)


def test_cards_are_quoted_only_for_what_they_measured() -> None:
    base = {"model": "loop-x4", "scale": 4}
    entries = [
        Entry(**base, backend="onnxruntime", precision="float32"),
        Entry(**base, backend="onnxruntime", precision="float32", iters=1),
        Entry(**base, backend="torch", precision="bfloat16"),
    ]
    report = run(entries, **QUICK)
    assert (report.quality, report.sets) == ("cards", ["Set5", "Set14", "BSD100"])
    known = catalogue.card("loop-x4").scores
    assert report.rows[0].psnr_y == {name: known[name]["psnr_y"] for name in report.sets}
    assert report.rows[1].psnr_y == report.rows[2].psnr_y == {}


def test_files_of_others(make_onnx: Any) -> None:
    path = str(make_onnx())
    entries = make_entries([path, "lanczos"], scale=None, backends=["all"], precisions=["float32"])
    report = run(entries, **QUICK)
    assert [(r.model, r.kind, r.backend) for r in report.rows] == [
        ("lanczos", "interpolation", ""),
        ("other", "onnx", "onnxruntime"),
        ("other", "onnx", "openvino"),
    ]
    assert (report.quality, report.sets) == ("", [])
    assert report.rows[1].macs == 0  # it repeats pixels
    assert report.rows[1].limited_by == "memory"
    with pytest.raises(UsageError, match="pass --data"):
        plot(report, Path("a.png"))


def test_a_checkpoint_of_others(tmp_path: Path) -> None:
    foreign._import()
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    network = SRVGGNetCompact(num_feat=8, num_conv=1, upscale=2)
    torch.save(network.state_dict(), tmp_path / "compact.pth")
    entries = make_entries(
        [str(tmp_path / "compact.pth"), "bicubic"],
        scale=None,
        backends=["onnxruntime"],
        precisions=["float32"],
    )
    assert [(e.label, e.backend) for e in entries] == [("bicubic", ""), ("compact", "torch")]
    model = entries[1].open(1)
    output: Any = runner(model, size=(24, 16))()
    assert output.shape == (1, 3, 32, 48)
    work = count_work(model, size=(24, 16))
    assert work is not None
    assert work.macs == 24 * 16 * 9 * (3 * 8 + 8 * 8 + 8 * 12)
    assert work.samples == 0  # not known, so only computing bounds it


def test_what_cannot_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = openvino.open_core

    def old_cpu(*, bfloat16: bool) -> Any:
        if bfloat16:
            raise BackendError("this CPU does not compute in bfloat16")
        return original(bfloat16=False)

    monkeypatch.setattr(openvino, "open_core", old_cpu)
    monkeypatch.setattr(peaks, "open_core", old_cpu)
    ways = ["float32", "bfloat16"]
    entries = make_entries(["loop"], scale=2, backends=["openvino"], precisions=ways)
    report = run(entries, **QUICK)
    assert [row.precision for row in report.rows] == ["float32"]
    assert report.left_out[0]["precision"] == "bfloat16"
    assert "does not compute" in report.left_out[0]["reason"]
    with pytest.raises(BackendError, match="does not compute"):
        run(entries[1:], **QUICK)


def test_entries_take_turns() -> None:
    """Each runs once a round, never twice before the others: a busy moment hits all alike."""
    calls: list[str] = []
    runs: Any = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    probes: Any = {("float32", "x"): lambda: calls.append("peak")}
    copies: Any = {8: lambda: calls.append("copy")}
    times, rates, copied = running._timed(
        runs, probes, copies, rounds=3, tell=lambda what, done: None
    )
    assert calls == ["a", "b", "peak", "copy"] * 4
    assert len(times["a"]) == len(times["b"]) == 3  # type: ignore[index]
    assert len(rates["float32", "x"]) == len(copied[8]) == 3


def _report(**facts: Any) -> Report:
    rows = [
        Row(
            model=f"m{n}",
            kind="loopsr",
            backend="onnxruntime",
            precision="float32",
            kilobytes=100.0 * n,
            milliseconds=10.0 * n,
            quartiles=(9.0 * n, 12.0 * n),
            fastest=9.0 * n,
            slowest=12.0 * n,
            frames_per_second=100 / n,
            psnr_y={"Set5": psnr} if psnr else {},
        )
        for n, psnr in ((1, 30.0), (2, 29.0), (3, 31.0), (4, None))
    ]
    return Report(
        date="2026-01-01",
        version="1",
        machine={"processor": "a CPU"},
        packages={},
        threads=1,
        scale=2,
        size=(10, 10),
        rounds=1,
        quality="measured",
        sets=["Set5"],
        rows=rows,
        **facts,
    )


@pytest.mark.parametrize("suffix", [".png", ".svg", ".PNG"])
def test_plot(tmp_path: Path, suffix: str) -> None:
    plot(_report(), tmp_path / f"a{suffix}")
    data = (tmp_path / f"a{suffix}").read_bytes()
    assert len(data) > 5000
    if suffix == ".svg":
        text = data.decode()
        for words in ("PSNR measured on Set5; 1 row without one", "a CPU, 1 thread", "Pareto"):
            assert words in text, words
        # The front has its labels; m2 is beaten and only in the legend.
        counts = [text.count(f"<!-- m{n} -->") for n in (1, 2, 3, 4)]
        assert counts == [3, 1, 3, 0]


def test_plots_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.png, \.svg or \.pdf"):
        plot(_report(), tmp_path / "a.txt")
    with pytest.raises(UsageError, match="there is no folder"):
        plot(_report(), tmp_path / "no" / "a.png")
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(ImageWriteError, match="cannot be written"):
        plot(_report(), tmp_path / "taken.png")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.png"]  # nothing half-written

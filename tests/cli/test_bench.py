"""``loopsr bench``: one table, JSON, CSV and a picture, over small networks."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from loopsr.apps.bench.report import Report, Row
from loopsr.cli import bench, main

from .conftest import Loopsr, photo

pytestmark = pytest.mark.usefixtures("small_peaks")
QUICK = ("--size", "16x12", "--rounds", "1", "--threads", "1")


@pytest.fixture
def sharp(tmp_path: Path) -> Path:
    folder = tmp_path / "Sharp"
    folder.mkdir()
    photo(48, 40).write_to_file(str(folder / "a.png"))
    return folder


def test_table_and_picture(loopsr: Loopsr, sharp: Path) -> None:
    run = loopsr("bench", "--scale", "2", "--data", sharp, "--plot", "a.png", *QUICK)
    assert run.returncode == 0
    text = run.stdout.decode()
    assert [line.split()[0] for line in text.splitlines()[3:6]] == ["bicubic", "lanczos", "loop-x2"]
    for words in ("of limit", "per s", "Sharp", "16x12 to 32x24", "1 thread", "GMAC/s in float32"):
        assert words in text, words
    assert "measured" in text
    assert (loopsr.folder / "a.png").stat().st_size > 5000
    assert run.stderr == b""


def test_no_picture_that_is_measured_on_is_plotted_over(loopsr: Loopsr, sharp: Path) -> None:
    before = (sharp / "a.png").read_bytes()
    run = loopsr("bench", "--scale", "2", "--data", sharp, "--plot", sharp / "a.png", *QUICK)
    assert run.returncode == 2
    assert b"is a picture of --data; pass another --plot" in run.stderr
    assert (sharp / "a.png").read_bytes() == before


def test_json_and_csv_agree(loopsr: Loopsr, sharp: Path) -> None:
    line = ("bench", "loop", "bicubic", "--scale", "3", "--data", sharp, *QUICK)
    report = json.loads(loopsr(*line, "--json").stdout)
    assert report["size"] == [16, 12]
    assert report["machine"]["processor"]
    assert report["peaks"]["float32"]["gmacs_per_second"] > 0
    assert [row["model"] for row in report["rows"]] == ["bicubic", "loop-x3"]
    rows = list(csv.DictReader(io.StringIO(loopsr(*line, "--csv").stdout.decode())))
    same = ("model", "backend", "precision", "parameters", "kilobytes", "macs")
    for row, wanted in zip(rows, report["rows"], strict=True):
        assert [row[key] for key in same] == [
            "" if wanted[key] is None else str(wanted[key]) for key in same
        ]
        assert float(row["psnr_y_Sharp"]) == wanted["psnr_y"]["Sharp"]
        assert float(row["quartile_25"]) <= float(row["quartile_75"])


def test_sets_of_one_name_have_a_column_each(loopsr: Loopsr, sharp: Path) -> None:
    for number, folder in enumerate(("HR", "other[b]/HR", "more/other[b]/HR")):
        (sharp / folder).mkdir(parents=True)
        photo(48, 40 + number).write_to_file(str(sharp / folder / "a.png"))
    data = [sharp / "HR", sharp / "other[b]", sharp / "more/other[b]/HR"]
    options = [item for folder in data for item in ("--data", folder)]
    text = loopsr("bench", "bicubic", "--scale", "2", *options, *QUICK).stdout.decode()
    heads = text.splitlines()[1].split()
    assert heads[-4:] == ["Sharp", "other[b]", "other[b]", "(2)"]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--size", "big"], "a size such as 320x180"),
        (["--size", "99999x99999"], "pass a smaller --size"),
        (["--size", "0x9"], "a size such as 320x180"),
        (["--iters", "1;2"], "numbers such as 1,2"),
        (["--iters", "0"], "1 or more"),
        (["--rounds", "0"], "from 1 to 1000"),
        (["--json", "--csv"], "exclude each other"),
        (["--backend", "onxruntime"], "did you mean onnxruntime"),
        (["--plot", "a.gif"], ".png, .svg or .pdf"),
        (["--plot", "no/a.png"], "there is no folder"),
        (["--data", "no"], "no folder 'no'"),
        (["lop"], "did you mean loop"),
        (["loop-x2", "--scale", "2", "--iters", "7"], "no network here has 7 steps"),
    ],
)
def test_wrong_usage_is_told_before_anything_runs(
    arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert hint in captured.err


def test_a_broken_file_is_told(loopsr: Loopsr, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    run = loopsr("bench", "bad.onnx", *QUICK)
    assert run.returncode == 1
    assert run.stderr.startswith(b"loopsr: error: bad.onnx")


def test_names_with_controls_stay_on_their_line(loopsr: Loopsr, make_onnx: Any) -> None:
    make_onnx(name="a\x1b[31m\n.onnx")
    run = loopsr("bench", "a\x1b[31m\n.onnx", "bicubic", *QUICK)
    assert run.returncode == 0
    assert b"\x1b" not in run.stdout
    assert b"a\\x1b[31m" in run.stdout


@pytest.mark.parametrize(("share", "told"), [(0.99, False), (1.2, True)])
def test_more_than_the_limit_is_explained(share: float, told: bool) -> None:
    row = Row(
        model="a",
        kind="loopsr",
        backend="ncnn",
        precision="float32",
        milliseconds=1,
        quartiles=(1, 1),
        fastest=1,
        slowest=1,
        frames_per_second=1000,
        share=share,
    )
    report = Report(
        date="",
        version="",
        machine={"processor": "a", "features": []},
        packages={},
        threads=1,
        scale=2,
        size=(1, 1),
        rounds=1,
        memory_gb_per_second=1.0,
        rows=[row],
    )
    assert any("Above 100 %" in note for note in bench._notes(report)) is told

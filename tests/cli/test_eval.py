"""``loopsr eval``: models, files and interpolations, as a table, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import pyvips
from click.testing import CliRunner, Result

from loopsr.cli.eval import command
from loopsr.data.sources import read_rgb
from loopsr.engine.opener import open_model
from loopsr.errors import BackendError, MissingExtraError, UnknownNameError, UsageError
from loopsr.ops.resize import resize
from loopsr.train.evaluate import METRICS
from loopsr.weights import catalogue

from ..conftest import Make
from .conftest import Loopsr


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)


@pytest.fixture
def data(tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pictures in the layout of a benchmark set; small weights under the default names."""
    monkeypatch.setattr(catalogue, "FOLDER", tiny_weights)
    (tmp_path / "Set/HR").mkdir(parents=True)
    y, x = np.mgrid[0:33, 0:42]
    for i in (1, 2):
        waves = 127 + 100 * np.sin(x / i + y / 5)[..., None] * np.array([1, 0.5, -1])
        image = pyvips.Image.new_from_array(waves.astype(np.uint8))
        image.write_to_file(str(tmp_path / f"Set/HR/{i}.png"))
    return tmp_path / "Set"


def test_json_lists_every_picture_and_the_mean(data: Path) -> None:
    result = run("bicubic", "loop-x2", "--data", data, "--scale", 2, "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    keys = [(line["model"], line["picture"]) for line in lines]
    assert keys == [(m, p) for m in ("bicubic", "loop-x2") for p in ("1", "2", "mean")]
    hr = read_rgb(data / "HR/1.png")[:32, :42]
    output = open_model("bicubic", scale=2)(resize(hr, scale=1 / 2))
    for name, metric in METRICS.items():
        expected = metric(output, hr, border=2)
        assert lines[0][name] == pytest.approx(expected, abs=1e-4)
        mean = (lines[0][name] + lines[1][name]) / 2
        assert lines[2][name] == pytest.approx(mean, abs=1e-4)
    assert [line["parameters"] for line in lines[2:4]] == [None, 57175]


def test_self_ensemble_has_a_name_of_its_own(data: Path) -> None:
    line = ("bicubic", "loop-x2", "--data", data, "--scale", 2, "--json")
    plain, mean = (
        [json.loads(text) for text in run(*line, *more).stdout.splitlines()]
        for more in ((), ("--self-ensemble",))
    )
    assert [row["model"] for row in mean] == 3 * ["bicubic"] + 3 * ["loop-x2+"]
    assert [row["psnr_y"] for row in mean[:3]] == [row["psnr_y"] for row in plain[:3]]


def test_csv(data: Path) -> None:
    result = run("lanczos", "--data", data, "--scale", 3, "--csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["picture"] for row in rows] == ["1", "2", "mean"]
    assert float(rows[0]["ssim_y"]) <= 1


def test_table_shows_means_and_on_request_each(data: Path) -> None:
    short = run("bicubic", "--data", data, "--scale", 4).stdout
    long = run("bicubic", "--data", data, "--scale", 4, "--each").stdout
    assert short.count("bicubic ") == 1
    assert long.count("bicubic ") == 3
    assert "mean" in long
    assert "MATLAB bicubic" in short


def test_sets_by_name(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = ("bicubic", "--scale", 2, "--json", "--data", "Set")
    by_option = run(*line, "--data-root", data.parent).stdout
    monkeypatch.setenv("LOOPSR_DATA", str(data.parent))
    by_variable = [json.loads(text) for text in run(*line).stdout.splitlines()]
    assert [json.loads(text)["psnr_y"] for text in by_option.splitlines()] == [
        text["psnr_y"] for text in by_variable
    ]
    assert {text["data"] for text in by_variable} == {"Set"}
    with pytest.raises(UnknownNameError, match="did you mean Set"):
        run("bicubic", "--scale", 2, "--data", "Set5")
    with pytest.raises(UsageError, match="to look for"):
        run(*line[:-1], "Gone", "--data-root", data.parent / "gone")
    (data.parent / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no folder"):
        run(*line[:-1], "Gone", "--data-root", data.parent / "empty")


def test_rows_can_be_told_apart(
    data: Path, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.onnx"  # whose card has the name of the network that ships
    mine.write_bytes((tiny_weights / "loop-x2.onnx").read_bytes())
    other, linked = tmp_path / "other/Set/HR", tmp_path / "Linked"
    other.mkdir(parents=True)
    (other / "3.png").write_bytes((data / "HR/1.png").read_bytes())
    linked.symlink_to(data)
    monkeypatch.chdir(data)
    folders = [data / "HR", ".", "../other/Set/HR", linked, data / "HR"]
    line = ["loop", mine, "--scale", 2, *(item for name in folders for item in ("--data", name))]
    rows = [json.loads(text) for text in run(*line, "--json").stdout.splitlines()]
    means = [(row["model"], row["data"]) for row in rows if row["picture"] == "mean"]
    sets = ("Set", "Set (2)", "Set (3)", "Linked")
    assert means == [(model, name) for model in ("loop-x2", "loop-x2 (2)") for name in sets]
    assert [row["data"] for row in rows if row["picture"] == "3"] == ["Set (3)"] * 2
    table = run(*line).stdout
    assert table.count("loop-x2 (2)") == 4
    assert table.count("Set (3)") == 2


def test_names_are_shown_as_they_are(tmp_path: Path, data: Path, make_onnx: Make) -> None:
    """None is taken for markup of the terminal's, or for the code of an emoji."""
    folder = tmp_path / "set[red]"
    folder.mkdir()
    for name in ("x[a].png", "x[b].png", ":star:.png"):
        (folder / name).write_bytes((data / "HR/1.png").read_bytes())
    model = make_onnx(name="net[bold].onnx", inputs=[("image", ("b", 1, "h", "w"))])
    words = run(model, "--data", folder, "--scale", 2, "--each").stdout.split()
    assert {"x[a]", "x[b]", ":star:"} < set(words)
    assert words.count("net[bold]") == 5  # and in the note on networks for luma
    assert words.count("set[red]") == 4


def test_networks_of_others(data: Path, make_onnx: Make) -> None:
    for side, told in ((3, False), (1, True)):
        path = make_onnx(name=f"other{side}.onnx", inputs=[("image", ("b", side, "h", "w"))])
        text = run(path, "bicubic", "--data", data, "--scale", 2).stdout
        assert f"other{side}" in text
        assert ("luma alone" in text) == told
    with pytest.raises(UsageError, match="upscales x2, x3 was asked for"):
        run(path, "--data", data, "--scale", 3)


def test_equal_pictures_have_no_number_in_json(tmp_path: Path) -> None:
    flat = pyvips.Image.black(64, 64, bands=3).copy(interpretation="srgb")
    flat.write_to_file(str(tmp_path / "flat.png"))
    result = run("bicubic", "--data", tmp_path, "--scale", 2, "--json")
    lines = [json.loads(line, parse_constant=pytest.fail) for line in result.stdout.splitlines()]
    assert [line["psnr_y"] for line in lines] == [None, None]
    assert [line["ssim_y"] for line in lines] == [1, 1]
    assert "inf" in run("bicubic", "--data", tmp_path, "--scale", 2).stdout


def test_an_error_is_told_above_the_bar(
    loopsr: Loopsr, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "HR/3.png").write_bytes((data / "HR/1.png").read_bytes()[:60])
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    run = loopsr("eval", "bicubic", "--scale", 2, "--data", data)
    (line,) = (line for line in run.stderr.splitlines() if b"3.png" in line)
    assert "━" not in line.decode()
    assert "━" in run.stderr.decode()


@pytest.mark.parametrize("kind", ["--json", "--csv", "--each"])
def test_a_picture_that_cannot_be_measured_is_left_out(
    loopsr: Loopsr, data: Path, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "good.png").write_bytes((data / "HR/1.png").read_bytes())
    small = pyvips.Image.black(8, 8, bands=3).copy(interpretation="srgb")
    small.write_to_file(str(data / "HR/0.png"))  # too small for SSIM
    (data / "HR/3.png").write_bytes((data / "HR/1.png").read_bytes()[:60])
    line = ("eval", "bicubic", "loop", "--scale", 2, kind, "--data")
    run = loopsr(*line, data, "--data", tmp_path / "good.png")
    assert run.returncode == 1
    errors = run.stderr.decode().splitlines()
    assert len(errors) == 3
    for name, text in zip(("0.png", "3.png"), errors, strict=False):
        assert text.startswith(f"loopsr: error: {data}/HR/{name}")
        assert text.count(name) == 1
    assert errors[2] == "loopsr: note: the means leave out 2 of 4 pictures of Set"
    for name in ("0.png", "3.png"):
        (data / "HR" / name).unlink()
    clean = loopsr(*line, data, "--data", tmp_path / "good.png")
    assert (clean.returncode, clean.stderr) == (0, b"")
    assert without_seconds(run.stdout) == without_seconds(clean.stdout)


def without_seconds(output: bytes) -> list[str]:
    """Rows, less their last column, and notes; table, JSON and CSV have the time at the end."""
    lines = output.decode().splitlines()
    return [line if line.startswith("x2.") else re.split(r"[\s,]+", line)[:-2] for line in lines]


def test_a_set_without_a_picture_left(loopsr: Loopsr, data: Path, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/1.png").write_bytes((data / "HR/1.png").read_bytes()[:60])
    line = ("eval", "bicubic", "--scale", 2, "--data", tmp_path / "bad")
    for more, words in (((), []), (("--data", data), ["bicubic", "Set"])):
        run = loopsr(*line, *more)
        assert run.returncode == 1
        errors = run.stderr.decode().splitlines()
        assert len(errors) == 2
        assert "1.png" in errors[0]
        assert errors[1].startswith("loopsr: error: no picture of bad can be measured; pass")
        rows = [text.split()[:2] for text in run.stdout.decode().splitlines() if "bicubic " in text]
        assert rows == ([words] if words else [])
        assert bool(run.stdout) == bool(words)


def test_lpips_says_what_is_missing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'loopsr\[lpips\]'"):
        run("bicubic", "--data", data, "--scale", 2, "--lpips")


def test_lpips_names_a_torchvision_that_does_not_fit(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = "raise RuntimeError('operator torchvision::nms does not exist')\n"
    (tmp_path / "lpips.py").write_text(broken, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lpips", raising=False)
    with pytest.raises(BackendError, match=r"torchvision does not fit this torch .*--index-url"):
        run("bicubic", "--data", data, "--scale", 2, "--lpips")


def test_a_file_is_a_model(data: Path, tiny_weights: Path) -> None:
    models = [tiny_weights / "loop-x2.onnx", tiny_weights / "loop-x2.safetensors"]
    result = run(*models, "--data", data, "--scale", 2, "--json")
    means = [json.loads(line) for line in result.stdout.splitlines() if '"mean"' in line]
    assert means[0]["psnr_y"] == pytest.approx(means[1]["psnr_y"], abs=0.01)


def test_wrong_arguments(data: Path) -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        run("bicubic", "--data", data, "--scale", 2, "--json", "--csv")
    with pytest.raises(UnknownNameError, match="loop-x2"):
        run("loopx2", "--data", data, "--scale", 2)
    with pytest.raises(UsageError, match="no folder"):
        run("bicubic", "--data", data / "missing", "--scale", 2)
    with pytest.raises(UsageError, match="--data before each folder"):
        run("bicubic", data, "--data", data, "--scale", 2)
    assert run("bicubic", "--data", data).exit_code == 2

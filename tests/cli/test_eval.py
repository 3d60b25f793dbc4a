"""``loopsr eval``: models, files and interpolations, as a table, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import pyvips
from click.testing import CliRunner, Result

from loopsr.cli.eval import command
from loopsr.data.sources import read_rgb
from loopsr.errors import UnknownNameError, UsageError
from loopsr.metrics.psnr import psnr_y
from loopsr.ops.resize import resize
from loopsr.weights import catalogue


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
    expected = psnr_y(resize(resize(hr, scale=1 / 2), scale=2), hr, border=2)
    assert lines[0]["psnr_y"] == round(expected, 2)
    assert lines[2]["psnr_y"] == pytest.approx(
        (lines[0]["psnr_y"] + lines[1]["psnr_y"]) / 2, abs=0.01
    )


def test_csv(data: Path) -> None:
    result = run("lanczos", "--data", data, "--scale", 3, "--csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["picture"] for row in rows] == ["1", "2", "mean"]
    assert float(rows[0]["ssim_y"]) <= 1


def test_table_shows_means_and_on_request_each(data: Path) -> None:
    short = run("bicubic", "--data", data, "--scale", 4).stdout
    long = run("bicubic", "--data", data, "--scale", 4, "--each").stdout
    assert short.count("bicubic") == 1 + short.count("MATLAB bicubic")
    assert long.count("bicubic") == short.count("bicubic") + 2


def test_a_file_is_a_model(data: Path, tiny_weights: Path) -> None:
    models = [tiny_weights / "loop-x2.onnx", tiny_weights / "loop-x2.safetensors"]
    result = run(*models, "--data", data, "--scale", 2, "--json")
    means = [json.loads(line) for line in result.stdout.splitlines() if '"mean"' in line]
    assert means[0]["psnr_y"] == pytest.approx(means[1]["psnr_y"], abs=0.011)


def test_wrong_arguments(data: Path) -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        run("bicubic", "--data", data, "--scale", 2, "--json", "--csv")
    with pytest.raises(UnknownNameError, match="loop-x2"):
        run("loopx2", "--data", data, "--scale", 2)
    with pytest.raises(UsageError, match="no folder"):
        run("bicubic", "--data", data / "missing", "--scale", 2)
    assert run("bicubic", "--data", data).exit_code == 2

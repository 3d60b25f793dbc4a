"""``loopsr compare``: a page from pictures, with and without a reference."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import pyvips

from ..apps.compare.pages import decode, read_page
from ..conftest import Make
from .conftest import Loopsr, Process, leftovers


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in (1, 2):
        noise = np.random.default_rng(i).integers(0, 256, (18, 25, 3), np.uint8)
        image = pyvips.Image.new_from_array(noise, interpretation="srgb").resize(6, kernel="cubic")
        image.write_to_file(str(folder / f"{i}.png"))
    return folder


def test_photos(loopsr: Loopsr, pictures: Path) -> None:
    run = loopsr("compare", pictures / "1.png", "-m", "bicubic,lanczos,loop")
    assert run.returncode == 0, run.stderr
    page = loopsr.folder / "compare.html"
    assert page.as_uri() in run.stdout.decode()
    data = read_page(page.read_text())
    (sheet,) = data["sheets"]
    assert [c["name"] for c in sheet["columns"]] == ["bicubic", "lanczos", "loop-x4"]
    assert decode(sheet["columns"][2]["image"]).shape == (432, 600, 3)
    assert data["heads"] == ["model", "parameters", "seconds"]
    assert data["means"] == []
    assert len(sheet["crops"]) == 4
    assert page.stat().st_mode == (pictures / "1.png").stat().st_mode  # as the umask asks
    assert not leftovers(loopsr.folder, "compare.html", "in")


def test_a_reference_is_measured_as_eval_does(loopsr: Loopsr, pictures: Path) -> None:
    run = loopsr("compare", pictures, "-r", "-s", 2, "-m", "lanczos,loop", "-o", "x.html")
    assert run.returncode == 0, run.stderr
    data = read_page((loopsr.folder / "x.html").read_text())
    lines = loopsr("eval", "lanczos", "loop", "--data", pictures, "--scale", 2, "--json").stdout
    scores = [json.loads(line) for line in lines.splitlines()]
    for row, score in zip(
        data["means"], [s for s in scores if s["picture"] == "mean"], strict=True
    ):
        texts = [cell["text"] if isinstance(cell, dict) else cell for cell in row]
        assert texts[0] == score["model"]
        assert [texts[i] for i in (3, 4)] == [f"{score['psnr_y']:.2f}", f"{score['ssim_y']:.4f}"]
    assert [sheet["name"] for sheet in data["sheets"]] == ["1.png", "2.png"]
    assert data["sheets"][0]["columns"][-1]["name"] == "sharp original"


def test_a_single_network_gets_bicubic_and_its_own_scale(
    loopsr: Loopsr, pictures: Path, make_onnx: Make
) -> None:
    assert loopsr("compare", pictures / "1.png", "-m", "loop-x3").returncode == 0
    (sheet,) = read_page((loopsr.folder / "compare.html").read_text())["sheets"]
    assert [c["name"] for c in sheet["columns"]] == ["bicubic", "loop-x3"]
    other = make_onnx()
    line = ("compare", pictures / "1.png", "-m", f"{other},{other}", "--overwrite")
    assert loopsr(*line).returncode == 0
    (sheet,) = read_page((loopsr.folder / "compare.html").read_text())["sheets"]
    assert [c["name"] for c in sheet["columns"]] == ["other", "other (2)"]
    assert sheet["crops"] == []  # nothing differs


def test_large_inputs_are_cut_to_their_middle(loopsr: Loopsr, pictures: Path) -> None:
    assert loopsr("compare", pictures / "1.png", "-s", 2, "--max-pixels", 4096).returncode == 0
    (sheet,) = read_page((loopsr.folder / "compare.html").read_text())["sheets"]
    assert "The middle of 150 x 108 pixels" in sheet["note"]
    whole = pyvips.Image.new_from_file(str(pictures / "1.png")).numpy()
    part = decode(sheet["input"])
    height, width = part.shape[:2]
    assert 4000 < height * width <= 4096
    top, left = (108 - height) // 2, (150 - width) // 2
    assert np.array_equal(part, whole[top : top + height, left : left + width])


def test_one_bad_picture_does_not_stop_the_rest(loopsr: Loopsr, pictures: Path) -> None:
    (pictures / "0.png").write_bytes((pictures / "1.png").read_bytes()[:3000])
    run = loopsr("compare", pictures)
    assert run.returncode == 1
    assert run.stderr.count(b"\n") == 1
    assert b"0.png" in run.stderr
    data = read_page((loopsr.folder / "compare.html").read_text())
    assert [sheet["name"] for sheet in data["sheets"]] == ["1.png", "2.png"]
    (loopsr.folder / "compare.html").unlink()
    assert loopsr("compare", pictures / "0.png").returncode == 1
    assert not (loopsr.folder / "compare.html").exists()


def test_each_of_several_bad_pictures_is_told(loopsr: Loopsr, pictures: Path) -> None:
    for i in (1, 2):
        (pictures / f"{i}.png").write_bytes((pictures / f"{i}.png").read_bytes()[:3000])
    (loopsr.folder / "compare.html").write_text("mine")
    run = loopsr("compare", pictures, "--overwrite")
    assert (run.returncode, run.stdout) == (1, b"")
    lines = run.stderr.splitlines()
    assert len(lines) == 2
    for i, line in zip((1, 2), lines, strict=True):
        assert line.startswith(f"loopsr: error: {pictures}/{i}.png".encode())
        assert line.count(b".png") == 1
    assert (loopsr.folder / "compare.html").read_text() == "mine"


@pytest.mark.parametrize("way", ["itself", "another spelling", "symbolic link", "hard link"])
@pytest.mark.parametrize("kind", ["picture", "foreign model", "own model"])
def test_an_input_is_never_overwritten(
    loopsr: Loopsr, pictures: Path, make_onnx: Make, kind: str, way: str
) -> None:
    own = Path("own.onnx")  # as a user names it: relative
    own.write_bytes((loopsr.weights / "loop-x2.onnx").read_bytes())
    victim = {
        "picture": pictures / "2.png",
        "foreign model": make_onnx(),
        "own model": own,
    }[kind]
    model = "bicubic" if kind == "picture" else victim
    page = Path("page.html")
    if way == "itself":
        page = victim
    elif way == "another spelling":
        page = victim.parent / ".." / victim.absolute().parent.name / victim.name
    elif way == "symbolic link":
        page.symlink_to(victim.absolute())
    else:
        page.hardlink_to(victim)
    before = victim.read_bytes()
    run = loopsr("compare", pictures, "-m", f"lanczos,{model}", "-s", 2, "-o", page, "--overwrite")
    assert run.returncode == 2
    assert b"an input is never overwritten, pass another -o" in run.stderr
    assert run.stderr.count(b"\n") == 1
    assert victim.read_bytes() == before
    assert page.samefile(victim)


def test_wrong_arguments(loopsr: Loopsr, pictures: Path) -> None:
    one = pictures / "1.png"
    (loopsr.folder / "there.html").write_text("mine")
    for line, code, message in (
        ((one, "-o", "there.html"), 2, b"--overwrite"),
        ((one, "-o", "in"), 2, b"is a folder"),
        ((one, "-o", "gone/x.html"), 1, b"does not exist"),
        ((one, "-m", "loopx"), 2, b"unknown"),
        ((one, "-m", "bicubic"), 2, b"2 to 8"),
        ((one, "-m", ","), 2, b"2 to 8"),
        ((loopsr.folder / "no.png",), 2, b"no folder"),
    ):
        run = loopsr("compare", *line)
        assert (run.returncode, run.stderr.count(b"\n")) == (code, 1), run.stderr
        assert message in run.stderr
    assert (loopsr.folder / "there.html").read_text() == "mine"
    assert not leftovers(loopsr.folder, "there.html", "in")


def test_an_interrupt_leaves_nothing(process: Process, pictures: Path) -> None:
    for i in range(3, 60):
        (pictures / f"{i}.png").write_bytes((pictures / "1.png").read_bytes())
    with subprocess.Popen(
        process.line("compare", pictures), cwd=process.folder, env=process.environment()
    ) as running:
        time.sleep(1.5)
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 130
    assert not leftovers(process.folder, "in")

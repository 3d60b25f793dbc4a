"""The main roads, end to end: real files, a real process, small untrained networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pyvips

from .conftest import Loopsr, Process, leftovers, photo


def opened(path: Path | bytes) -> pyvips.Image:
    if isinstance(path, bytes):
        return pyvips.Image.new_from_buffer(path, "")
    return pyvips.Image.new_from_file(str(path))


def test_one_picture(loopsr: Loopsr, picture: Path) -> None:
    run = loopsr("upscale", "photo.png")
    assert run.returncode == 0, run.stderr
    image = opened(picture.with_name("photo_x4.png"))
    assert (image.width, image.height, image.bands) == (96, 64, 3)
    line = run.stdout.decode()
    assert line.startswith("photo_x4.png  24x16 -> 96x64  loop-x4  ")
    assert line.count("\n") == 1
    assert run.stderr == b""  # no progress where nobody looks
    assert not leftovers(loopsr.folder, "photo.png", "photo_x4.png")


@pytest.mark.parametrize(
    ("options", "name", "size"),
    [
        (["--scale", "2"], "photo_x2.png", (48, 32)),
        (["-s", "1.5"], "photo_x1.5.png", (36, 24)),
        (["-s", "8"], "photo_x8.png", (192, 128)),
        (["--width", "60"], "photo_w60.png", (60, 40)),
        (["--height", "48"], "photo_h48.png", (72, 48)),
        (["--long-edge", "72", "-f", "jpeg"], "photo_long72.jpg", (72, 48)),
        (["-m", "loop-x3"], "photo_x3.png", (72, 48)),
        (["-o", "deep/folder/"], "deep/folder/photo_x4.png", (96, 64)),
        (["-o", "other.webp", "--lossless"], "other.webp", (96, 64)),
        (["-o", "other.avif", "--encoding-quality", "40"], "other.avif", (96, 64)),
        (["--tile", "16", "--threads", "1", "--max-memory", "200M"], "photo_x4.png", (96, 64)),
    ],
)
def test_sizes_names_and_formats(
    loopsr: Loopsr, picture: Path, options: list[str], name: str, size: tuple[int, int]
) -> None:
    run = loopsr("upscale", "photo.png", *options)
    assert run.returncode == 0, run.stderr
    image = opened(loopsr.folder / name)
    assert (image.width, image.height) == size


def test_a_model_of_the_users_own(loopsr: Loopsr, picture: Path) -> None:
    run = loopsr("upscale", "photo.png", "--model", loopsr.weights / "loop-x2.onnx")
    assert run.returncode == 0, run.stderr
    assert opened(loopsr.folder / "photo_x2.png").width == 48


def test_json(loopsr: Loopsr, picture: Path) -> None:
    run = loopsr("upscale", "photo.png", "missing.png", "--json")
    assert run.returncode == 1
    good, bad = map(json.loads, run.stdout.splitlines())
    assert good["ok"] is True
    assert (good["source"], good["target"]) == ("photo.png", "photo_x4.png")
    assert (good["width"], good["height"], good["model"]) == (96, 64, "loop-x4")
    assert good["seconds"] > 0
    assert bad["ok"] is False
    assert bad["source"] == "missing.png"
    assert "no such file" in bad["error"]


def test_quiet_and_verbose(loopsr: Loopsr, picture: Path) -> None:
    run = loopsr("upscale", "photo.png", "-q")
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")
    run = loopsr("upscale", "photo.png", "-vv", "--overwrite")
    assert run.returncode == 0
    assert b"Traceback" not in run.stderr


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_pipes_keep_the_format(process: Process, kind: str) -> None:
    data = photo().write_to_buffer(f".{kind}")
    run = process("upscale", "-", input=data)
    assert run.returncode == 0, run.stderr
    assert run.stdout[:3] == data[:3]
    assert opened(run.stdout).width == 96
    assert run.stderr == b""  # silent when piped; -v tells the result line
    assert process("upscale", "-", "-v", input=data).stderr.count(b"24x16 -> 96x64") == 1
    assert not leftovers(process.folder)


def test_pipe_to_file_and_back(process: Process, picture: Path) -> None:
    run = process("upscale", "-", "-o", "x.tif", input=picture.read_bytes())
    assert run.returncode == 0, run.stderr
    assert opened(process.folder / "x.tif").width == 96
    run = process("upscale", "photo.png", "-o", "-", "--format", "jpeg")
    assert run.returncode == 0, run.stderr
    assert run.stdout[:2] == b"\xff\xd8"


def test_a_result_that_exists_is_kept_unless_told_otherwise(loopsr: Loopsr, picture: Path) -> None:
    target = picture.with_name("photo_x4.png")
    target.write_bytes(b"precious")
    run = loopsr("upscale", "photo.png")
    assert run.returncode == 1
    assert b"--overwrite" in run.stderr
    assert target.read_bytes() == b"precious"
    assert loopsr("upscale", "photo.png", "--overwrite").returncode == 0
    assert opened(target).width == 96


def test_the_input_is_never_overwritten(loopsr: Loopsr, picture: Path) -> None:
    before = picture.read_bytes()
    for output in ("photo.png", "./photo.png", str(picture)):
        run = loopsr("upscale", "photo.png", "-o", output, "--overwrite")
        assert run.returncode == 2
        assert picture.read_bytes() == before


def test_one_bad_file_does_not_stop_the_rest(loopsr: Loopsr, picture: Path) -> None:
    (loopsr.folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    photo(8, 8).write_to_file(str(loopsr.folder / "last.png"))
    run = loopsr("upscale", "photo.png", "bad.png", "gone.jpg", "last.png", "-o", "out")
    assert run.returncode == 1
    assert {path.name for path in (loopsr.folder / "out").iterdir()} == {
        "photo_x4.png",
        "last_x4.png",
        ".loopsr.jsonl",
    }
    summary = run.stderr.decode().rpartition("2 of 4 failed:")[2]
    assert "bad.png" in summary
    assert "gone.jpg" in summary


def test_one_pixel(loopsr: Loopsr) -> None:
    photo(1, 1).write_to_file(str(loopsr.folder / "dot.png"))
    run = loopsr("upscale", "dot.png")
    assert run.returncode == 0, run.stderr
    assert opened(loopsr.folder / "dot_x4.png").width == 4


def test_sixteen_bits_stay(loopsr: Loopsr) -> None:
    noise = np.random.default_rng(0).integers(20_000, 40_000, (16, 24, 3), np.uint16)
    pyvips.Image.new_from_array(noise, interpretation="rgb16").pngsave(
        str(loopsr.folder / "deep.png")
    )
    assert loopsr("upscale", "deep.png").returncode == 0
    image = opened(loopsr.folder / "deep_x4.png")
    assert image.format == "ushort"
    assert len(np.unique(image.numpy() & 255)) > 100  # not 8 bits in a wider coat


def test_grey_stays_grey(loopsr: Loopsr) -> None:
    photo(bands=1).write_to_file(str(loopsr.folder / "grey.png"))
    assert loopsr("upscale", "grey.png").returncode == 0
    assert opened(loopsr.folder / "grey_x4.png").bands == 1


def test_cmyk_becomes_rgb(loopsr: Loopsr) -> None:
    image = photo().colourspace("cmyk")
    image.write_to_file(str(loopsr.folder / "print.jpg"))
    assert opened(loopsr.folder / "print.jpg").bands == 4
    run = loopsr("upscale", "print.jpg")
    assert run.returncode == 0, run.stderr
    result = opened(loopsr.folder / "print_x4.jpg")
    assert (result.bands, result.interpretation) == (3, "srgb")


def test_a_logo_keeps_its_transparency_and_jpeg_says_that_it_cannot(loopsr: Loopsr) -> None:
    photo(bands=4).write_to_file(str(loopsr.folder / "logo.png"))
    assert loopsr("upscale", "logo.png").returncode == 0
    result = opened(loopsr.folder / "logo_x4.png")
    assert result.bands == 4
    assert result[3].min() < result[3].max()
    run = loopsr("upscale", "logo.png", "--format", "jpeg")
    assert run.returncode == 0, run.stderr
    assert b"loopsr: note: " in run.stderr
    assert opened(loopsr.folder / "logo_x4.jpg").bands == 3


def test_names_that_are_awkward(loopsr: Loopsr) -> None:
    photo(4, 4).write_to_file(str(loopsr.folder / "plain.png"))
    data = (loopsr.folder / "plain.png").read_bytes()
    for name in ("ü ñ.png", "-dash.png", "a[red]b.png", "new\nline.png"):
        (loopsr.folder / name).write_bytes(data)
        run = loopsr("upscale", "--", name)
        assert run.returncode == 0, run.stderr
        assert run.stdout.count(b"\n") == 1
        assert (loopsr.folder / f"{name[:-4]}_x4.png").exists()


@pytest.mark.parametrize("extra", ["", "import torch"])
def test_upscaling_needs_no_torch(process: Process, picture: Path, extra: str) -> None:
    code = f"""
import sys
from pathlib import Path
from loopsr.weights import catalogue
catalogue.FOLDER = Path({str(process.weights)!r})
from loopsr.cli import main
assert main(["upscale", "photo.png", "-q"]) == 0
{extra}
sys.exit(77 if "torch" in sys.modules or "onnx" in sys.modules else 0)
"""
    run = process.python(code)
    assert run.returncode == (77 if extra else 0), run.stderr

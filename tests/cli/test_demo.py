"""The demo: its files, what it says, and a page that stands alone."""

from __future__ import annotations

import numpy as np
import pyvips

from loopsr.ops.resize import resize

from ..apps.compare.pages import decode, read_page
from .conftest import Loopsr, leftovers


def test_demo(loopsr: Loopsr) -> None:
    run = loopsr("demo")
    assert run.returncode == 0, run.stderr
    text = run.stdout.decode()
    folder = loopsr.folder / "loopsr-demo"
    for fact in (
        "192 x 192",
        "768 x 768",
        "loop-x4",
        "parameters",
        (folder / "compare.html").as_uri(),
    ):
        assert fact in text
    assert not leftovers(folder, "osprey_x4.png", "osprey_x4_bicubic.png", "compare.html")
    result = pyvips.Image.new_from_file(str(folder / "osprey_x4.png"))
    assert (result.width, result.height) == (768, 768)
    assert loopsr("demo").returncode == 0  # again, over its own files


def test_bicubic_is_ours(loopsr: Loopsr) -> None:
    from loopsr.apps import demo

    assert loopsr("demo", "-o", "x").returncode == 0
    sample = demo.resources.files("loopsr.apps") / "assets" / demo.SAMPLE
    pixels = pyvips.Image.new_from_buffer(sample.read_bytes(), "").numpy()
    written = pyvips.Image.new_from_file(str(loopsr.folder / "x" / "osprey_x4_bicubic.png"))
    exact = resize(pixels.astype(float), scale=4).clip(0, 255)
    assert np.abs(written.numpy() - exact).max() <= 0.5 + 1e-9


def test_the_page_stands_alone(loopsr: Loopsr) -> None:
    assert loopsr("demo", "-o", "x").returncode == 0
    page = read_page((loopsr.folder / "x" / "compare.html").read_text())
    (sheet,) = page["sheets"]
    assert [column["name"] for column in sheet["columns"]] == ["bicubic", "loop-x4"]
    written = pyvips.Image.new_from_file(str(loopsr.folder / "x" / "osprey_x4.png"))
    assert np.array_equal(decode(sheet["columns"][1]["image"]), written.numpy())


def test_a_demo_that_cannot_be_written(loopsr: Loopsr) -> None:
    (loopsr.folder / "file").touch()
    run = loopsr("demo", "-o", "file")
    assert run.returncode == 1
    assert run.stderr.count(b"\n") == 1
    assert loopsr("demo", "--model", "loop-x3").returncode == 0

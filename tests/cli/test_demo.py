"""The demo: its files, what it says, and a page that stands alone."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pyvips

from loopsr.ops.resize import resize

from .conftest import Loopsr, leftovers

VOID = {"meta", "img", "input", "br", "link"}


class Checker(HTMLParser):
    """Collects what a page would load, and whether its tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


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
    assert np.array_equal(written.numpy(), resize(pixels, scale=4))


def test_the_page_stands_alone(loopsr: Loopsr) -> None:
    assert loopsr("demo", "-o", "x").returncode == 0
    page = (loopsr.folder / "x" / "compare.html").read_text()
    checker = Checker()
    checker.feed(page)
    assert not checker.open
    assert checker.loads
    assert all(load.startswith("data:image/png;base64,") for load in checker.loads)
    script = re.sub(r"data:image/png;base64,[\w+/=]+", "", page)
    assert not re.search(r"https?:|//[a-z]|@import|\$\w", script.replace("$" + "{", ""))
    assert 'type="range"' in page
    assert "aria-label" in page


def test_a_demo_that_cannot_be_written(loopsr: Loopsr) -> None:
    (loopsr.folder / "file").touch()
    run = loopsr("demo", "-o", "file")
    assert run.returncode == 1
    assert run.stderr.count(b"\n") == 1
    assert loopsr("demo", "--model", "loop-x3").returncode == 0

"""The benchmark that fills the cards, and the pages that are written from them."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file

from loopsr import Upscaler
from loopsr.weights import catalogue

pytestmark = pytest.mark.usefixtures("benchmarks")


@pytest.fixture
def cards() -> ModuleType:
    return importlib.import_module("cards")


@pytest.fixture
def pages() -> ModuleType:
    return importlib.import_module("model_pages")


@pytest.fixture
def weights(tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of our own, to be written into."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for path in tiny_weights.glob("*.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(catalogue, "FOLDER", folder)
    return folder


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_cards_are_measured_and_nothing_else_changes(
    cards: ModuleType, weights: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    line = ["--only", "loop-x2", "--rounds", "1", "--size", "20x12", "--threads", "1"]
    assert cards.main([*line, "--pages", str(tmp_path / "pages")]) == 0
    for kind in ("onnx", "safetensors"):
        card, path = catalogue.find("loop-x2", kind=kind)  # its hash is the one in the index
        assert card.measured["input"] == "20x12"
        assert card.measured["milliseconds"] > 0
        assert card.measured["memory_mb"] > 0
        assert path.stat().st_size < (tiny_weights / path.name).stat().st_size + 1000
    old, new = (load_file(folder / "loop-x2.safetensors") for folder in (tiny_weights, weights))
    assert old.keys() == new.keys()
    assert all(np.array_equal(old[key], new[key]) for key in old)
    graphs = [onnx.load(folder / "loop-x2.onnx").graph for folder in (tiny_weights, weights)]
    assert graphs[0] == graphs[1]
    assert catalogue.card("loop-x3").measured == {}
    assert "ms | " in (tmp_path / "pages" / "README.md").read_text()
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    assert Upscaler("loop-x2")(image).shape == (18, 14, 3)


def test_dry_run_writes_nothing(
    cards: ModuleType, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in weights.iterdir()}
    line = ["--only", "loop-x3", "--rounds", "1", "--size", "9x8", "--dry-run"]
    assert cards.main([*line, "--pages", str(tmp_path / "pages")]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "loop-x3"
    assert {path.name: path.read_bytes() for path in weights.iterdir()} == before
    assert not (tmp_path / "pages").exists()
    with pytest.raises(SystemExit):
        cards.main(["--size", "big"])


def test_pages_of_the_docs_are_in_step_with_the_cards(pages: ModuleType) -> None:
    stale = pages.stale_pages()
    assert not stale, f"type: python benchmarks/model_pages.py (stale: {stale})"


def test_control_a_stale_page_is_noticed(pages: ModuleType, tmp_path: Path) -> None:
    pages.write_pages(tmp_path)
    written = {page.name for page in tmp_path.iterdir()}
    assert pages.stale_pages(tmp_path) == []
    text = (tmp_path / "loop.md").read_text()
    (tmp_path / "loop.md").write_text(text.replace("# loop", "# pool"))
    (tmp_path / "lrn.md").unlink()
    (tmp_path / "gone.md").write_text(text)
    (tmp_path / "mine.md").write_text("by hand")
    assert pages.stale_pages(tmp_path) == ["loop.md", "lrn.md"]
    pages.write_pages(tmp_path)
    assert {page.name for page in tmp_path.iterdir()} == {*written, "mine.md"}

"""The int8 twin of a network: smaller, named, and near enough to be the same picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loopsr import Upscaler
from loopsr.errors import UsageError
from loopsr.export.quantize import main, quantise
from loopsr.weights import catalogue

pytest.importorskip("onnx", reason="needs the packages of the extra dev")
SAMPLE = Path(catalogue.__file__).parents[1] / "apps" / "assets" / "osprey.png"
BOUND = 8.0  # grey levels, root mean square, on hard edges; 5.3 were seen when this was written


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8")
    path = folder / "loop-x2.int8.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOPSR_CACHE", str(folder))
        quantise("loop-x2", path, pictures=[SAMPLE])
    return path


def difference(model: str | Path) -> float:
    image = (np.random.default_rng(0).random((12, 14, 3)) * 255).astype(np.uint8)
    image = image.repeat(4, axis=0).repeat(4, axis=1)
    full, short = (Upscaler(m, threads=1)(image).astype(float) for m in ("loop-x2", model))
    return float(np.sqrt(np.square(full - short).mean()))


def test_is_small_and_says_what_it_is(twin: Path) -> None:
    card = catalogue.read_card(twin)
    assert card.name == "loop-x2.int8"
    assert card.scores == {}
    assert twin.stat().st_size < catalogue.onnx_path("loop-x2").stat().st_size / 2
    assert [path.name for path in twin.parent.glob("*.onnx")] == [twin.name]


def test_is_near_the_network(twin: Path) -> None:
    assert 0 < difference(twin) < BOUND


def test_bound_catches_another_network(twin: Path) -> None:
    assert difference("lrn-x2") > BOUND


def test_refusals(twin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="exists"):
        quantise("loop-x2", twin, pictures=[SAMPLE])
    with pytest.raises(UsageError, match="integers already"):
        quantise(twin, tmp_path / "again.onnx", pictures=[SAMPLE])
    arguments = ["loop-x2", "--calibration", str(tmp_path / "none"), "-o", str(tmp_path / "a.onnx")]
    assert main(arguments) == 2
    assert "no folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

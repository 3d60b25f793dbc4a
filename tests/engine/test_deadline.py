"""Steps and size for a time limit, on a machine whose speed is made up; nothing is timed here."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import pyvips

from loopsr import UsageError, upscale_file
from loopsr.card import ModelCard
from loopsr.engine.frames import FrameFormat, FrameUpscaler
from loopsr.engine.networks import Networks
from loopsr.engine.pace import Speed
from loopsr.engine.upscaler import Upscaler
from loopsr.ops.resize import resize

pytestmark = pytest.mark.usefixtures("family")
PICTURE = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
PIXELS = 1200


@pytest.fixture(autouse=True)
def speeds(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds of one step on ``PICTURE``, of bicubic, of encoding, as they would be measured."""
    known = {"loop-x2": 12.0, "loop-s-x2": 3.0, "loop-x4": 12.0, "none": 0.01, "encode": 0.0}

    def speed(self: Networks, card: ModelCard) -> Speed:
        step = known[card.name] / PIXELS
        return Speed(none=known["none"] / PIXELS, first=step, step=step)

    def codec(format: str, encoding: object) -> tuple[float, float]:
        return 0.0, known["encode"] / (4 * PIXELS)

    monkeypatch.setattr(Networks, "speed", speed)
    monkeypatch.setattr("loopsr.engine.files.codec_speed", codec)
    return known


@pytest.mark.parametrize(
    ("deadline", "model", "steps"),
    [
        (60, "loop-x2", 3),
        (34, "loop-x2", 2),
        (20, "loop-x2", 1),
        (13, "loop-s-x2", 3),
        (8.5, "loop-s-x2", 2),
        (4, "loop-s-x2", 1),
    ],
)
def test_as_much_as_fits(deadline: float, model: str, steps: int) -> None:
    expected = Upscaler(model, iters=steps)(PICTURE, scale=2)
    given = Upscaler(quality="best", deadline=deadline)(PICTURE, scale=2)
    assert np.array_equal(given, expected)
    other = Upscaler(model, iters=3 if steps < 3 else 2)(PICTURE, scale=2)
    assert not np.array_equal(given, other)


def test_a_network_that_was_named_is_kept() -> None:
    given = Upscaler("loop-x2", quality="best", deadline=20)(PICTURE, scale=2)
    assert np.array_equal(given, Upscaler("loop-x2", iters=1)(PICTURE, scale=2))


def test_adaptive_steps_within_the_limit() -> None:
    given = Upscaler(deadline=60)(PICTURE, scale=2)
    assert np.array_equal(given, Upscaler()(PICTURE, scale=2))


def test_passes_and_alpha_count() -> None:
    # x8 is x4 then x2 of 16 times the pixels: 12 + 192 s a step; alpha takes it all again.
    with_alpha = np.concatenate([PICTURE, PICTURE[..., :1]], axis=2)
    for picture, deadline in ((PICTURE, 230.0), (with_alpha, 460.0)):
        given = Upscaler("loop-x4", quality="best", deadline=deadline)(picture, scale=8)
        assert np.array_equal(given, Upscaler("loop-x4", iters=1)(picture, scale=8))


def test_bicubic_when_there_is_no_time(
    speeds: dict[str, float], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    speeds["loop-x2"] = speeds["loop-s-x2"] = 1e6
    expected = resize(PICTURE.astype(np.float64), scale=2).round().clip(0, 255)
    with caplog.at_level(logging.WARNING, "loopsr"):
        given = Upscaler(deadline=30)(PICTURE, scale=2)
    assert np.abs(given - expected).max() <= 1
    assert "no time for a network on 100 % of the picture" in caplog.text
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    pyvips.Image.new_from_array(PICTURE).write_to_file(str(source))
    result = upscale_file(source, target, upscaler=Upscaler(deadline=30), scale=2)
    assert (result.bicubic, result.steps) == (1.0, 0.0)
    assert np.array_equal(pyvips.Image.new_from_file(str(target)).numpy(), given)


def test_results_name_the_steps(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    pyvips.Image.new_from_array(PICTURE).write_to_file(str(source))
    upscaler = Upscaler(quality="best", deadline=34)
    result = upscale_file(source, tmp_path / "b.png", upscaler=upscaler, scale=2)
    assert (result.bicubic, result.steps, result.model) == (0.0, 2.0, "loop-x2")


@pytest.mark.parametrize(("what", "seconds"), [("none", 40.0), ("encode", 40.0)])
def test_not_even_that_fits(
    what: str, seconds: float, speeds: dict[str, float], tmp_path: Path
) -> None:
    speeds[what] = seconds
    speeds["loop-x2"] = speeds["loop-s-x2"] = 1e6
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    pyvips.Image.new_from_array(PICTURE).write_to_file(str(source))
    with pytest.raises(UsageError, match=r"time limit of 30 s is too short: .* about 4\d s here"):
        upscale_file(source, target, upscaler=Upscaler(deadline=30), scale=2)
    assert not target.exists()


def test_what_is_written_late_leaves_less_time(speeds: dict[str, float], tmp_path: Path) -> None:
    speeds["encode"] = 30.0
    source = tmp_path / "a.png"
    pyvips.Image.new_from_array(PICTURE).write_to_file(str(source))
    upscaler = Upscaler(quality="best", deadline=60)
    result = upscale_file(source, tmp_path / "b.webp", upscaler=upscaler, scale=2)
    assert result.steps == 1.0  # 54 - 30 s are left, not 54


def test_wishes_that_cannot_be() -> None:
    for deadline in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="above 0 was expected"):
            Upscaler(deadline=deadline)
    with pytest.raises(UsageError, match="iters 2 and a deadline contradict"):
        Upscaler(deadline=5, iters=2)
    assert Upscaler(deadline=5).identity() != Upscaler(deadline=6).identity()
    with pytest.raises(UsageError, match="a deadline is for pictures"):
        FrameUpscaler(Upscaler(deadline=5), *[_FORMAT] * 2, size=(8, 8), scale=2)


_FORMAT: FrameFormat = None  # type: ignore[assignment]  # not looked at


def test_speeds_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the real machine
    networks = Networks(backend="onnxruntime", precision="auto", threads=1)
    card = networks.card("loop-x2")
    first = networks.speed(card)
    assert first.first > 0
    assert first.none > 0
    assert first.step >= 0
    assert Networks(backend="onnxruntime", precision="auto", threads=1).card("loop-x2") == card
    assert networks.speed(card) == first

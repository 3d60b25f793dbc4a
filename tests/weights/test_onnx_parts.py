"""A file cut between its steps computes what the whole one does."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from loopsr.errors import WeightsError
from loopsr.weights import catalogue
from loopsr.weights.onnx_graph import with_steps
from loopsr.weights.onnx_parts import cut_parts


def session(data: bytes) -> Any:
    onnx.checker.check_model(onnx.load_from_string(data))
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("stops", [(1, 2, 4), (0, 2, 3, 4), (0, 3), (2, 3), (4,)])
@pytest.mark.parametrize("name", ["loop-x2", "loop-x4", "lrn-x3"])
def test_segments_are_the_whole(name: str, stops: tuple[int, ...]) -> None:
    card, path = catalogue.find(name)
    assert card.iters is not None
    data, pixels = path.read_bytes(), np.random.default_rng(0).random((2, 3, 9, 14), np.float32)
    segments = cut_parts(data, stops, file=name)
    assert list(segments) == [stop for stop in stops if stop]
    state = {"lr": pixels}
    for stop, segment in segments.items():
        whole = with_steps(data, stop, of=card.iters, file=name)
        expected = session(whole).run(["sr"], {"lr": pixels})[0]
        inputs = {key: state[key] for key in segment.inputs}
        opened = session(segment.data)
        picture, *added = opened.run(["sr", *segment.adds], inputs)
        assert np.abs(picture - expected).max() < 1e-6
        for key in set(inputs) - {"lr"}:  # the state matters: half of it is another picture
            halved = opened.run(["sr"], inputs | {key: inputs[key] * 0.5})[0]
            assert np.abs(halved - expected).max() > 1e-3
        state |= dict(zip(segment.adds, added, strict=True))
    assert not segment.adds  # nobody reads them


@pytest.mark.parametrize("stops", [(-1, 2), (0,), (), (1, 1), (3, 2), (1, 2, 99)])
def test_steps_that_are_not_there(stops: tuple[int, ...]) -> None:
    data = catalogue.onnx_path("loop-x2").read_bytes()
    with pytest.raises(WeightsError, match=r"names \d steps"):
        cut_parts(data, stops, file="loop-x2")


def test_no_onnx_file() -> None:
    with pytest.raises(WeightsError, match=r"x\.onnx is no ONNX file"):
        cut_parts(b"nothing", (1, 2), file="x.onnx")

"""A file cut between two steps computes what the whole one does."""

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


@pytest.mark.parametrize("name", ["loop-x2", "loop-x4", "lrn-x3"])
def test_parts_are_the_whole(name: str) -> None:
    card, path = catalogue.find(name)
    assert card.iters is not None
    data, pixels = path.read_bytes(), np.random.default_rng(0).random((2, 3, 9, 14), np.float32)
    ends = tuple(sorted({2, card.iters}))
    parts = cut_parts(data, 1, ends, file=name)
    picture, *features = session(parts.first).run(["sr", *parts.carried], {"lr": pixels})
    state = {"lr": pixels, **dict(zip(parts.carried, features, strict=True))}
    for stop in (1, *ends):
        whole = with_steps(data, stop, of=card.iters, file=name)
        expected = session(whole).run(["sr"], {"lr": pixels})[0]
        if stop > 1:
            inputs = {key: state[key] for key in parts.inputs}
            picture = session(parts.later[stop]).run(["sr"], inputs)[0]
        assert np.abs(picture - expected).max() < 1e-6
    # The state matters: half of it is another picture.
    halved = {key: state[key] * (0.5 if key == "step_1" else 1) for key in parts.inputs}
    assert np.abs(session(parts.later[ends[-1]]).run(["sr"], halved)[0] - expected).max() > 1e-3


@pytest.mark.parametrize(
    ("start", "ends"), [(-1, (2,)), (0, (0,)), (1, (1,)), (2, (2,)), (1, (2, 99))]
)
def test_steps_that_are_not_there(start: int, ends: tuple[int, ...]) -> None:
    data = catalogue.onnx_path("loop-x2").read_bytes()
    with pytest.raises(WeightsError, match=r"names \d steps"):
        cut_parts(data, start, ends, file="loop-x2")


def test_no_onnx_file() -> None:
    with pytest.raises(WeightsError, match=r"x\.onnx is no ONNX file"):
        cut_parts(b"nothing", 1, (2,), file="x.onnx")

"""One door for interpolations, our networks and those of others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from loopsr import Upscaler
from loopsr.engine.opener import numbered, open_model
from loopsr.errors import UnknownNameError, UsageError, WeightsError
from loopsr.ops.resize import resize

from ..conftest import Make


@pytest.fixture
def image() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)


@pytest.mark.parametrize("kernel", ["bicubic", "lanczos"])
def test_interpolations_are_rounded_once(kernel: str, image: NDArray[np.uint8]) -> None:
    model = open_model(kernel, scale=3)
    assert (model.name, model.kind, model.parameters, model.network) == (
        kernel,
        "interpolation",
        None,
        None,
    )
    exact = resize(image / 1.0, scale=3, kernel=kernel).clip(0, 255)
    output = model(image)
    assert output.dtype == np.uint8
    assert np.abs(output - exact).max() <= 0.5 + 1e-9
    with pytest.raises(UsageError, match="pass a scale"):
        open_model(kernel)


def test_our_networks(weights: Path, image: NDArray[np.uint8]) -> None:
    model = open_model("loop", scale=2, threads=1)  # without -x2
    assert (model.name, model.kind, model.scale, model.channels) == ("loop-x2", "loopsr", 2, 3)
    assert np.array_equal(model(image), Upscaler("loop-x2")(image))
    assert open_model("loop-x3").scale == 3
    for suffix in ("onnx", "safetensors"):
        twin = open_model(weights / f"loop-x2.{suffix}", threads=1)
        assert np.abs(twin(image).astype(int) - model(image)).max() <= 1
        assert twin.network is not None
        x = np.zeros((2, 3, 4, 5), np.float32)
        assert twin.network().run(x).shape == (2, 3, 8, 10)
    assert open_model("loop-x2", scale=4)(image).shape == (36, 56, 3)  # two passes


def test_networks_of_others(
    make_onnx: Make,
    image: NDArray[np.uint8],
) -> None:
    path = make_onnx()
    model = open_model(str(path), scale=2)
    assert (model.name, model.kind, model.parameters) == ("other", "onnx", 4)
    assert np.array_equal(model(image), image.repeat(2, axis=0).repeat(2, axis=1))
    with pytest.raises(UsageError, match="upscales x2, x3 was asked for"):
        open_model(path, scale=3)


def test_wrong_names(weights: Path, tmp_path: Path, make_onnx: Make) -> None:
    with pytest.raises(UnknownNameError, match="loop-x2"):
        open_model("loopx2", scale=2)
    with pytest.raises(UnknownNameError):
        open_model("loop", scale=7)
    for name in ("gone.onnx", "gone.pth", "gone.safetensors", "some/where.bin"):
        with pytest.raises(WeightsError):
            open_model(tmp_path / name)


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ("a b", "a|b"),
        ("a b a a", "a|b|a (2)|a (3)"),
        ("a|a (2)|a", "a|a (2)|a (3)"),
        ("a|a|a (2)", "a|a (2)|a (2) (2)"),
    ],
)
def test_no_two_names_are_alike(names: str, shown: str) -> None:
    given = names.split("|") if "|" in names else names.split()
    assert numbered(given) == shown.split("|")


def test_it_needs_no_torch() -> None:
    code = (
        "import sys; from loopsr.engine.opener import open_model\n"
        "open_model('bicubic', scale=2); open_model('loop', scale=2)\n"
        "assert not {'torch', 'onnx', 'spandrel'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_ways_to_run_our_networks(image: NDArray[np.uint8]) -> None:
    short = open_model("loop-x2", threads=1, backend="openvino", iters=1)
    upscaler = Upscaler("loop-x2", threads=1, backend="openvino", iters=1)
    assert np.array_equal(short(image), upscaler(image))
    assert short.network is not None
    assert (short.backend, short.network().name) == ("openvino", "openvino")
    assert short.card is not None
    assert short.card.iters == 1
    assert not np.array_equal(open_model("loop-x2", threads=1)(image), short(image))
    coarse = open_model("loop-x2", threads=1, backend="torch", precision="bfloat16")
    assert coarse.file is not None
    assert coarse.file.suffix == ".safetensors"
    x = np.random.default_rng(0).random((1, 3, 8, 8), dtype=np.float32)
    fine = open_model("loop-x2", threads=1, backend="torch")
    assert coarse.network is not None
    assert fine.network is not None
    assert np.abs(coarse.network().run(x) - fine.network().run(x)).max() > 1e-5
    with pytest.raises(UsageError, match="pass --backend"):
        open_model("loop-x2", backend="ncnn", precision="bfloat16")


def test_ways_to_run_networks_of_others(make_onnx: Make, image: NDArray[np.uint8]) -> None:
    path = make_onnx()
    for backend in ("onnxruntime", "openvino"):
        assert np.array_equal(
            open_model(path, threads=1, backend=backend)(image), image.repeat(2, 0).repeat(2, 1)
        )
    with pytest.raises(UsageError, match="runs on onnxruntime in float32, or on openvino"):
        open_model(path, backend="torch")
    with pytest.raises(UsageError, match="runs on onnxruntime in float32, or on openvino"):
        open_model(path, precision="bfloat16")
    with pytest.raises(UsageError, match="no steps that could be counted"):
        open_model(path, iters=1)

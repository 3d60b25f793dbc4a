"""ONNX files of other projects: what a run tells of them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from loopsr.engine.foreign import onnx as foreign
from loopsr.engine.foreign.network import upscale
from loopsr.errors import WeightsError
from loopsr.ops.resize import resize
from loopsr.ops.ycbcr import to_ycbcr
from loopsr.weights import catalogue

from ...conftest import Make, node


@pytest.fixture
def photo() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (13, 18, 3), np.uint8)


def repeated(image: NDArray[np.uint8], scale: int = 2) -> NDArray[np.uint8]:
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


@pytest.mark.parametrize("scale", [2, 3])
def test_scale_is_found_by_a_run(make_onnx: Make, photo: NDArray[np.uint8], scale: int) -> None:
    path = make_onnx(scales=np.array([1, 1, scale, scale], np.float32))
    network, weights = foreign.open_onnx(path, threads=1)
    facts = (network.scale, network.channels, network.multiple_of, network.peak, network.name)
    assert facts == (scale, 3, 1, 1, "other")
    assert weights == 4
    assert np.array_equal(upscale(network, photo), repeated(photo, scale))


@pytest.mark.parametrize("side", ["c", 1])
def test_luma_alone_gets_bicubic_colours(
    make_onnx: Make, photo: NDArray[np.uint8], side: str | int
) -> None:
    # a convolution that takes one channel decides where the file does not
    kernel = np.zeros((1, 1, 3, 3), np.float32)
    kernel[0, 0, 1, 1] = 1
    nodes = [
        node("Conv", "image kernel", "same", pads=[1, 1, 1, 1]),
        node("Resize", "same - scales", "large", mode="nearest"),
    ]
    path = make_onnx(nodes, inputs=[("image", ("b", side, "h", "w"))], kernel=kernel)
    network, weights = foreign.open_onnx(path, threads=1)
    assert (network.channels, weights) == (1, 13)
    soft = (photo // 4 + 96).astype(np.uint8)  # far from the rim of the colour space
    planes = to_ycbcr(upscale(network, soft))
    assert np.allclose(planes[..., 0], repeated(to_ycbcr(soft))[..., 0], atol=0.6)
    assert np.allclose(planes[..., 1:], resize(to_ycbcr(soft), scale=2)[..., 1:], atol=1)


def test_white_as_255_is_found(make_onnx: Make, photo: NDArray[np.uint8]) -> None:
    # halfway to mid grey: of a picture in [0, 1] it makes grey all over
    nodes = [
        node("Resize", "image - scales", "u", mode="nearest"),
        node("Add", "u grey", "v"),
        node("Mul", "v half", "large"),
    ]
    path = make_onnx(nodes, grey=np.float32(127.5), half=np.float32(0.5))
    network, _ = foreign.open_onnx(path, threads=1)
    assert network.peak == 255
    expected = np.floor((repeated(photo) + 127.5) / 2 + 0.5)
    assert np.abs(upscale(network, photo) - expected).max() <= 1


def test_sides_that_must_be_multiples(make_onnx: Make, photo: NDArray[np.uint8]) -> None:
    nodes = [
        node("SpaceToDepth", "image", "deep", blocksize=4),
        node("DepthToSpace", "deep", "same", blocksize=4),
        node("Resize", "same - scales", "large", mode="nearest"),
    ]
    network, _ = foreign.open_onnx(make_onnx(nodes), threads=1)
    assert network.multiple_of == 4
    assert np.array_equal(upscale(network, photo), repeated(photo))
    assert network.run(np.zeros((2, 3, 1, 5), np.float32)).shape == (2, 3, 2, 10)


def test_what_is_no_upscaler_of_pictures(make_onnx: Make) -> None:
    wrong = {
        "2 inputs": make_onnx(
            [node("Add", "image other", "large")],
            inputs=[("image", ("b", 3, "h", "w")), ("other", ("b", 3, "h", "w"))],
        ),
        "channels come before": make_onnx(name="nhwc.onnx", inputs=[("image", ("b", 8, "w", 3))]),
        "of one size only": make_onnx(name="fixed.onnx", inputs=[("image", (1, 3, 64, 64))]),
        "does not upscale": make_onnx(
            [node("ReduceMean", "image", "large", keepdims=1)], name="mean.onnx"
        ),
        "takes image tensor.float16": make_onnx(name="half.onnx", kind=onnx.TensorProto.FLOAT16),
        "takes image tensor.float. .'b', 3": make_onnx(
            [node("Identity", "image", "large")], name="rank.onnx", inputs=[("image", ("b", 3))]
        ),
    }
    for message, path in wrong.items():
        with pytest.raises(WeightsError, match=message) as caught:
            foreign.open_onnx(path, threads=1)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 0.01, 0.5, 0.99])
def test_cut_off(make_onnx: Make, keep: float) -> None:
    path = make_onnx()
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(WeightsError):
        foreign.open_onnx(path, threads=1)


def test_data_outside_is_refused(make_onnx: Make, tmp_path: Path) -> None:
    model = onnx.load(make_onnx())
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(16))
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "secret", length=16)
    model.graph.initializer[0].ClearField("raw_data")
    path = tmp_path / "outside.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match="another file"):
        foreign.open_onnx(path, threads=1)


def test_too_large_a_file(make_onnx: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_onnx()
    monkeypatch.setattr(foreign, "MAX_FOREIGN_BYTES", path.stat().st_size)
    foreign.open_onnx(path, threads=1)
    monkeypatch.setattr(foreign, "MAX_FOREIGN_BYTES", path.stat().st_size - 1)
    with pytest.raises(WeightsError, match="too much"):
        foreign.open_onnx(path, threads=1)


@pytest.mark.parametrize("at_load", [True, False])
def test_a_file_that_wants_a_terabyte(make_onnx: Make, at_load: bool) -> None:
    """The file has 300 bytes; without the bound the system would kill the process."""
    more = [node("Identity", "size", "n")]
    if not at_load:  # a number that is only known when it runs
        more = [
            node("Shape", "image", "shape"),
            node("ReduceMax", "shape", "most", keepdims=0),
            node("Mul", "most size", "n"),
        ]
    nodes = [
        *more,
        node("ConstantOfShape", "n", "big"),
        node("ReduceMean", "big", "zero", keepdims=0),
        node("Resize", "image - scales", "u", mode="nearest"),
        node("Add", "u zero", "large"),
    ]
    path = make_onnx(nodes, size=np.array([10**10], np.int64))
    assert path.stat().st_size < 500
    with pytest.raises(WeightsError, match="more memory than a network of others may take"):
        foreign.open_onnx(path, threads=1)


def test_our_own_file_is_seen_as_ours(tiny_weights: Path, make_onnx: Make) -> None:
    assert catalogue.holds_card(tiny_weights / "loop-x2.onnx")
    assert catalogue.holds_card(tiny_weights / "loop-x2.safetensors")
    assert not catalogue.holds_card(make_onnx())


def test_weights_are_counted_as_in_the_card(tiny_weights: Path) -> None:
    path = tiny_weights / "loop-x2.onnx"
    _, weights = foreign.open_onnx(path, threads=1)
    assert weights == pytest.approx(catalogue.card(str(path)).parameters, rel=0.01)

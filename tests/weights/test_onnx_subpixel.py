"""The end of a network in other layers gives the same picture; other ends are left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from loopsr.weights.onnx_graph import OUTPUT, Graph, tensor
from loopsr.weights.onnx_subpixel import BASE, spread_by_convolution, summed_small

SIZES = ((1, 1), (1, 5), (2, 3), (7, 4), (16, 17))


def ending(scale: int, *, shuffle: str = "CRD", source: str = "lr", **resize: Any) -> Graph:
    """`shuffle(1x1 convolution) + enlarged`, with random weights; Resize as told."""
    rng = np.random.default_rng(scale)
    channels = 3 * scale * scale
    weight = rng.standard_normal((channels, 3, 1, 1)).astype(np.float32)
    factors = np.array([1, 1, scale, scale], np.float32)
    settings = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"} | resize
    nodes = [
        helper.make_node("Relu", ["lr"], ["other"]),
        helper.make_node("Resize", [source, "", "factors"], ["large"], **settings),
        helper.make_node("Conv", ["lr", "weight"], ["small"]),
        helper.make_node("DepthToSpace", ["small"], ["mixed"], blocksize=scale, mode=shuffle),
        helper.make_node("Add", ["mixed", "large"], [OUTPUT]),
    ]
    ports = (("lr", ("b", 3, "h", "w")), (OUTPUT, ("b", 3, "sh", "sw")))
    port_in, port_out = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in ports)
    weights = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(factors, "factors"),
    ]
    graph = helper.make_graph(nodes, "end", [port_in], [port_out], weights)
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    return Graph.read(model.SerializeToString(), file="end.onnx")


def run(graph: Graph, pixels: np.ndarray) -> np.ndarray:
    data = graph.to_bytes()
    onnx.checker.check_model(onnx.load_from_string(data))
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    output: np.ndarray = session.run([OUTPUT], {"lr": pixels})[0]
    return output


def operations(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_picture_is_the_same_of_any_size(scale: int) -> None:
    plain = ending(scale)
    small, spread = summed_small(plain), spread_by_convolution(summed_small(plain))
    assert operations(small) == ["Conv", "Pad", "Conv", "Add", "DepthToSpace"]
    assert operations(spread) == ["Conv", "Pad", "Conv", "Add", "ConvTranspose"]
    assert any(BASE in node.outputs for node in small.nodes)
    for height, width in SIZES:
        pixels = np.random.default_rng(0).random((2, 3, height, width), np.float32)
        expected = run(plain, pixels)
        # ONNX Runtime itself places pixels to float32 only where the factor is no power of two.
        assert np.abs(run(small, pixels) - expected).max() < (2e-5 if scale == 3 else 1e-6)
        assert np.array_equal(run(spread, pixels), run(small, pixels))


def test_a_wrong_share_of_a_neighbour_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from loopsr.weights import onnx_subpixel

    right = onnx_subpixel.bilinear_kernel
    monkeypatch.setattr(onnx_subpixel, "bilinear_kernel", lambda scale: right(scale)[..., ::-1])
    plain = ending(2)
    pixels = np.random.default_rng(0).random((1, 3, 5, 6), np.float32)
    assert np.abs(run(summed_small(plain), pixels) - run(plain, pixels)).max() > 1e-2


@pytest.mark.parametrize(
    "other",
    [
        {"shuffle": "DCR"},
        {"source": "other"},
        {"mode": "cubic"},
        {"mode": "nearest"},
        {"coordinate_transformation_mode": "align_corners"},
        {"antialias": 1},
        {"exclude_outside": 1, "mode": "cubic"},
    ],
    ids=str,
)
def test_other_ends_are_left_alone(other: dict[str, Any]) -> None:
    graph = ending(2, **other)
    assert summed_small(graph) is graph
    assert spread_by_convolution(graph) is graph  # the sum, not the shuffle, makes its output


def test_factors_of_another_size_or_kind_are_left_alone() -> None:
    graph = ending(2)
    for factors in (np.array([1, 1, 2, 3], np.float32), np.array([1, 1, 4, 4], np.float32)):
        graph.tensors["factors"] = tensor("factors", factors)
        assert summed_small(graph) is graph
    half = np.array([1, 1, 2, 2], np.float16)
    graph.tensors["factors"] = numpy_helper.from_array(half, "factors").SerializeToString()
    assert summed_small(graph) is graph
    del graph.tensors["factors"]
    assert summed_small(graph) is graph


def test_a_factor_out_of_all_reason_allocates_nothing() -> None:
    graph = ending(9)
    assert summed_small(graph) is graph
    shuffle = next(node for node in graph.nodes if node.op == "DepthToSpace")
    alone = Graph([node for node in graph.nodes if node is shuffle], {})
    assert spread_by_convolution(alone) is alone


def test_a_shuffle_that_makes_the_output_alone_is_spread() -> None:
    graph = ending(2)
    nodes = [node for node in graph.nodes if node.op in ("Conv", "DepthToSpace")]
    nodes[-1] = type(nodes[-1])("DepthToSpace", nodes[-1].inputs, (OUTPUT,), nodes[-1].rest)
    alone = Graph(nodes, {"weight": graph.tensors["weight"]}, graph.rest, graph.model)
    assert operations(spread_by_convolution(alone)) == ["Conv", "ConvTranspose"]
    pixels = np.random.default_rng(0).random((1, 3, 5, 6), np.float32)
    assert np.array_equal(run(spread_by_convolution(alone), pixels), run(alone, pixels))

"""ONNX files are read, cut and written without the package `onnx`, which checks them here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from loopsr.errors import WeightsError
from loopsr.weights.onnx_graph import Graph, with_steps
from loopsr.weights.wire import BYTES, FIXED32, VARINT, BrokenError, fields, message


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, object]:
    """`loop` with three steps, and its file."""
    import torch

    from loopsr import models
    from loopsr.export.onnx import export_onnx
    from loopsr.export.package import make_card

    torch.manual_seed(0)
    network = models.create("loop", scale=2, width=8, own=0, depth=1, iters=3)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    path = tmp_path_factory.mktemp("twin") / "loop-x2.onnx"
    export_onnx(network, path, card=make_card(network, name="loop-x2", kind="loop"))
    return path, network


def run(data: bytes) -> np.ndarray:
    from loopsr.export.onnx import run_onnx

    return run_onnx(data, np.random.default_rng(0).random((1, 3, 9, 11), np.float32))


def test_read_and_written_it_is_the_same(twin: tuple[Path, object]) -> None:
    data = twin[0].read_bytes()
    again = Graph.read(data, file="x").to_bytes()
    onnx.checker.check_model(onnx.load_from_string(again))
    before, after = onnx.load_from_string(data), onnx.load_from_string(again)
    assert list(before.graph.node) == list(after.graph.node)
    assert list(before.graph.initializer) == list(after.graph.initializer)
    assert before.metadata_props == after.metadata_props


def test_cut_to_fewer_steps(twin: tuple[Path, object]) -> None:
    data = twin[0].read_bytes()
    graph = Graph.read(data, file="x")
    assert graph.steps() == 3
    pictures = []
    for iters in (1, 2, 3):
        cut = graph.cut(iters).to_bytes()
        onnx.checker.check_model(onnx.load_from_string(cut))
        assert graph.cut(iters).steps() in (0, iters)
        convolutions = [n for n in graph.cut(iters).nodes if n.op == "Conv"]
        assert len(convolutions) == 2 + 3 * iters
        pictures.append(run(cut))
    assert np.array_equal(pictures[2], run(data))
    assert np.abs(pictures[0] - pictures[1]).max() > 1e-3
    for iters in (0, 4):
        with pytest.raises(ValueError, match="is not one of 3"):
            graph.cut(iters)
    with pytest.raises(WeightsError, match="names 3 steps, its card says 5"):
        with_steps(data, 2, of=5, file="x.onnx")


def test_copies_of_small_tensors_change_nothing(twin: tuple[Path, object]) -> None:
    data = twin[0].read_bytes()
    apart = Graph.read(data, file="x").unshared()
    onnx.checker.check_model(onnx.load_from_string(apart.to_bytes()))
    assert np.array_equal(run(apart.to_bytes()), run(data))
    read = [name for node in apart.nodes for name in node.inputs if name in apart.tensors]
    small = [name for name in read if len(apart.tensors[name]) < 4096]
    assert len(small) == len(set(small)) > len(set(Graph.read(data, file="x").tensors)) / 2


def test_attributes_and_arrays(twin: tuple[Path, object]) -> None:
    graph = Graph.read(twin[0].read_bytes(), file="x")
    by_onnx = onnx.load(twin[0])
    for node, expected in zip(graph.nodes, by_onnx.graph.node, strict=True):
        ours = node.attributes()
        for attribute in expected.attribute:
            value = onnx.helper.get_attribute_value(attribute)
            value = value.decode() if isinstance(value, bytes) else value
            value = tuple(value) if isinstance(value, list) else value
            assert ours[attribute.name] == value
    for tensor in by_onnx.graph.initializer:
        assert np.array_equal(graph.array(tensor.name), onnx.numpy_helper.to_array(tensor))


def test_steps_that_end_in_other_layers_are_refused() -> None:
    import torch
    from torch import nn

    from loopsr.errors import TrainingError
    from loopsr.export.onnx import _trace
    from loopsr.export.steps import name_steps

    class Odd(nn.Module):
        iters = 2

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)

        def unroll(self, x: torch.Tensor):
            state = self.a(x)
            yield torch.relu(state)
            yield torch.sigmoid(self.b(state))

    graph = _trace(Odd(), ["sr_1", "sr_2"]).graph
    with pytest.raises(TrainingError, match="made by different layers"):
        name_steps(graph, ["sr_1", "sr_2"])


def test_cut_off_bytes_are_told(twin: tuple[Path, object]) -> None:
    data = twin[0].read_bytes()
    for end in (0, 1, 20, len(data) // 2, len(data) - 1):
        with pytest.raises(WeightsError, match=r"x\.onnx is no ONNX file"):
            Graph.read(data[:end], file="x.onnx")


def test_the_wire() -> None:
    parts = [(1, VARINT, 300), (2, BYTES, b"text"), (3, FIXED32, b"\0\0\x80?"), (1, VARINT, 2**63)]
    found = list(fields(memoryview(message(parts))))
    assert [(n, w, v if isinstance(v, int) else bytes(v)) for n, w, v in found] == parts
    for bad in (b"\x0a\x05abc", b"\x0b", b"\x08", b"\x0d\0\0", b"\x08" + b"\xff" * 11):
        with pytest.raises(BrokenError):
            list(fields(memoryview(bad)))

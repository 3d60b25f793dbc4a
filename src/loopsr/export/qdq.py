"""Write the grids of a fake-quantised network into its ONNX graph, in ONNX's QDQ form.

Around each convolution of 8-bit integers stand QuantizeLinear and DequantizeLinear: its features
are uint8 with a step a tensor, its weights int8 with a step an output channel, its bias int32 with
the product of both steps. ONNX Runtime and OpenVINO join them into one integer layer. Features that
go through a ReLU are rounded after it: before it, what is negative would take most of the 256
values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from loopsr.errors import TrainingError
from loopsr.export.steps import rename
from loopsr.layers.fake_quant import FakeQuantConv, FakeQuantised, int8_weight
from loopsr.weights.onnx_graph import STEP

Numbers = NDArray[Any]


def write_grids(graph: Any, network: FakeQuantised) -> None:
    """Give the layers of an ``onnx.GraphProto`` of the plain network their grids.

    Layers are known by the names of their weights, their runs by the order of the nodes. Raises
    ``TrainingError`` when the graph runs them less or more often than the network.
    """
    layers = {f"{name}.weight": layer for name, layer in network.layers().items()}
    runs = dict.fromkeys(layers, 0)
    ahead: dict[str, tuple[float, int]] = {}  # the grid of what a ReLU will make of a convolution
    nodes: list[Any] = []
    for node in graph.node:
        name = node.input[1] if node.op_type == "Conv" else ""
        grid = None  # of what the node gives
        if name in layers:
            layer, run = layers[name], runs[name]
            if run >= len(layer.slots):
                raise _other_runs()
            nodes += _make_integer(graph, node, layer, run=run)
            if layer.relu:
                ahead[node.output[0]] = _grid(*layer.out_grid(run))
            else:
                grid = _grid(*layer.out_grid(run))
            runs[name] += 1
        elif node.op_type == "Conv":
            nodes += _store_short(graph, node)
        elif node.op_type == "Relu":
            grid = ahead.pop(node.input[0], None)
        nodes.append(node)
        if grid is not None:
            value = node.output[0]
            node.output[0] = f"{value}:f"
            nodes += _rounding(graph, node.output[0], value, *grid)
    if ahead or runs != {name: len(layer.slots) for name, layer in layers.items()}:
        raise _other_runs()
    _replace(graph, nodes)
    _shorten_names(graph)


def _other_runs() -> TrainingError:
    return TrainingError(
        "the graph does not run its layers of 8-bit integers as the network does; "
        "give the network the same layers in every step"
    )


def _store_short(graph: Any, node: Any) -> list[Any]:
    """Store the kernel of a convolution in floats as int8, if ``FakeQuantised.shorten`` made it so.

    Returns the nodes that widen it again; none where an earlier run of the layer has done so. They
    are no DequantizeLinear, which ONNX Runtime would not compute once and for all.
    """
    from onnx import TensorProto, helper, numpy_helper

    name = node.input[1]
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    if f"{name}:q" not in tensors:
        kernel = torch.from_numpy(numpy_helper.to_array(tensors[name]).copy())
        whole, step = int8_weight(kernel)
        if not torch.equal(whole * step, kernel):
            return []
        _add_tensor(graph, f"{name}:q", _numbers(whole).astype(np.int8))
        _add_tensor(graph, f"{name}:s", _numbers(step))
        nodes = [
            helper.make_node("Cast", [f"{name}:q"], [f"{name}:w"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}:w", f"{name}:s"], [f"{name}:f"]),
        ]
    node.input[1] = f"{name}:f"
    return nodes


def _make_integer(graph: Any, node: Any, layer: FakeQuantConv, *, run: int) -> list[Any]:
    """Put the three inputs of a convolution on grids; returns the nodes that come before it."""
    nodes: list[Any] = []
    name = node.input[1]
    step, zero = _grid(*layer.in_grid(run))
    if layer.slots[run] is not None:
        value = f"{node.input[0]}:{node.output[0]}"
        nodes += _rounding(graph, node.input[0], value, step, zero)
        node.input[0] = value
    weight_step = _numbers(layer.weight_step())
    if run == 0:
        whole = np.round(_numbers(layer.rounded_weight()) / weight_step.reshape(-1, 1, 1, 1))
        nodes.append(_dequantise(graph, name, whole.astype(np.int8), weight_step))
    node.input[1] = f"{name}:f"
    if layer.bias is not None and len(node.input) > 2:  # exporters leave zeros out
        bias_step = weight_step * np.float32(step)
        whole = np.round(_numbers(layer.bias).astype(np.float64) / bias_step)
        nodes.append(
            _dequantise(graph, f"{node.input[2]}:{run}", whole.astype(np.int32), bias_step)
        )
        node.input[2] = nodes[-1].output[0]
    return nodes


def _grid(step: Tensor, zero: Tensor) -> tuple[float, int]:
    return _numbers(step).item(), round(zero.item())


def _rounding(graph: Any, value: str, rounded: str, step: float, zero: int) -> list[Any]:
    """The two nodes that make ``rounded`` of ``value``."""
    from onnx import helper

    grid = [f"{rounded}:s", f"{rounded}:z"]
    _add_tensor(graph, grid[0], np.array(step, np.float32))
    _add_tensor(graph, grid[1], np.array(zero, np.uint8))
    return [
        helper.make_node("QuantizeLinear", [value, *grid], [f"{rounded}:q"]),
        helper.make_node("DequantizeLinear", [f"{rounded}:q", *grid], [rounded]),
    ]


def _dequantise(graph: Any, name: str, whole: Numbers, step: Numbers) -> Any:
    """The node that makes floats of integers that are stored, a step a channel."""
    from onnx import helper

    _add_tensor(graph, f"{name}:q", whole)
    _add_tensor(graph, f"{name}:s", step)
    inputs = [f"{name}:q", f"{name}:s"]
    return helper.make_node("DequantizeLinear", inputs, [f"{name}:f"], axis=0)


def _add_tensor(graph: Any, name: str, numbers: Numbers) -> None:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(numbers, name))


def _numbers(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().cpu().numpy().astype(np.float32)


def _replace(graph: Any, nodes: list[Any]) -> None:
    """Make these the nodes of the graph, and drop the tensors that none of them reads."""
    read = {name for node in nodes for name in node.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in read]
    for node in nodes:
        _shorten(node)
    for kind, items in (("node", nodes), ("initializer", tensors)):
        copies = [type(item).FromString(item.SerializeToString()) for item in items]
        del getattr(graph, kind)[:]
        getattr(graph, kind).extend(copies)


def _shorten(node: Any) -> None:
    """Leave out what a convolution need not say, in a file that is to be small."""
    from onnx import helper

    node.name = ""
    if node.op_type == "Conv":
        usual = {"group": 1, "auto_pad": b"NOTSET", "strides": [1, 1], "dilations": [1, 1]}
        said = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        kept = [
            item
            for item in node.attribute
            if item.name != "kernel_shape" and said[item.name] != usual.get(item.name)
        ]
        del node.attribute[:]
        node.attribute.extend(kept)


def _shorten_names(graph: Any) -> None:
    """Number the values: in so small a file their names would take a tenth.

    Those of inputs, outputs and steps stay, as others look for them (``loopsr.weights``).
    """
    fixed = {item.name for item in (*graph.input, *graph.output)}
    values = dict.fromkeys(name for node in graph.node for name in (*node.input, *node.output))
    names = [name for name in values if name and name not in fixed and not name.startswith(STEP)]
    rename(graph, {name: f"{number:x}" for number, name in enumerate(names)})

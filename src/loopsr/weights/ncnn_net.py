"""Write a network for ncnn, the runtime of phones and boards, from the graph of its ONNX file.

ncnn reads two files: ``.param``, a line a layer in text, and ``.bin``, the weights in the same
order. Only the dozen operations that networks here are made of are known. ncnn cannot store weights
once that several layers share, so a file grows with the steps. Format: ncnn's wiki, "param and
model file structure" and "operation param weight table".
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from loopsr.errors import WeightsError
from loopsr.weights.onnx_graph import INPUT, OUTPUT, Graph, Node
from loopsr.weights.wire import BrokenError

_MAGIC = 7767517
_RAW = struct.pack("<I", 0)  # before weights: they follow as float32
_BILINEAR = 2
_ADD = 0


@dataclass
class _Layer:
    kind: str
    inputs: list[str]
    outputs: list[str]
    settings: dict[int, int | float]
    weights: bytes = b""


def to_ncnn(graph: Graph, *, file: str) -> tuple[str, bytes]:
    """The text of ``.param`` and the bytes of ``.bin``; input ``lr``, output ``sr``.

    Raises ``WeightsError`` for an operation, or a form of one, that is not known here.
    """
    try:
        layers = [_Layer("Input", [], [INPUT], {})]
        layers += _fused([_layer(graph, node) for node in graph.nodes])
    except (BrokenError, KeyError, ValueError, IndexError) as error:
        raise WeightsError(
            f"{file} cannot be converted for ncnn ({error}); pass another --backend"
        ) from error
    layers = _split(layers)
    blobs = sum(len(layer.outputs) for layer in layers)
    lines = [str(_MAGIC), f"{len(layers)} {blobs}"]
    for number, layer in enumerate(layers):
        settings = " ".join(f"{key}={value}" for key, value in layer.settings.items())
        names = " ".join([*layer.inputs, *layer.outputs])
        counts = f"{len(layer.inputs)} {len(layer.outputs)}"
        lines.append(f"{layer.kind} layer_{number} {counts} {names} {settings}".rstrip())
    return "\n".join(lines) + "\n", b"".join(layer.weights for layer in layers)


def _layer(graph: Graph, node: Node) -> _Layer:
    values = [name for name in node.inputs if name and name not in graph.tensors]
    outputs = list(node.outputs)
    attributes: dict[str, Any] = node.attributes()
    if node.op == "Relu":
        return _Layer("ReLU", values, outputs, {})
    if node.op == "Conv":
        kind = "Convolution" if attributes.get("group", 1) == 1 else "ConvolutionDepthWise"
        return _Layer(kind, values, outputs, *_convolution(graph, node, attributes))
    if node.op == "ConvTranspose":
        return _Layer("Deconvolution", values, outputs, *_convolution(graph, node, attributes))
    if node.op == "Add" and len(values) == 2:
        return _Layer("BinaryOp", values, outputs, {0: _ADD})
    if node.op == "Mul" and len(values) == 1:
        name = next(name for name in node.inputs if name in graph.tensors)
        factors = graph.array(name)
        if factors.shape[2:] != (1, 1) or factors.shape[0] != 1:
            raise ValueError(f"factors of shape {factors.shape}")
        return _Layer("Scale", values, outputs, {0: factors.size}, factors.tobytes())
    if node.op == "DepthToSpace" and attributes.get("mode") == "CRD":
        return _Layer("PixelShuffle", values, outputs, {0: attributes["blocksize"]})
    if node.op == "Resize":
        return _Layer("Interp", values, outputs, _interpolation(graph, node, attributes))
    raise ValueError(f"operation {node.op}")


def _convolution(
    graph: Graph, node: Node, attributes: dict[str, Any]
) -> tuple[dict[int, int | float], bytes]:
    weight = graph.array(node.inputs[1])
    bias = graph.array(node.inputs[2]).tobytes() if len(node.inputs) > 2 else b""
    top, left, bottom, right = attributes["pads"]
    groups, padding = attributes.get("group", 1), attributes.get("auto_pad", "NOTSET")
    if padding != "NOTSET" or any(attributes.get("output_padding", ())):
        raise ValueError(f"{node.op} with automatic padding")
    if groups not in (1, len(weight)) or (node.op == "ConvTranspose" and groups != 1):
        raise ValueError(f"{node.op} with {groups} groups")
    if node.op == "ConvTranspose":
        weight = weight.transpose(1, 0, 2, 3)  # ncnn: outputs first
    (height, width), (down, across) = weight.shape[2:], attributes["strides"]
    y, x = attributes["dilations"]
    settings: dict[int, int | float] = {0: weight.shape[0], 1: width, 11: height, 2: x, 12: y}
    settings |= {3: across, 13: down, 4: left, 14: top, 15: right, 16: bottom}
    settings |= {5: int(bool(bias)), 6: weight.size} | ({7: groups} if groups > 1 else {})
    return settings, _RAW + np.ascontiguousarray(weight).tobytes() + bias


def _interpolation(graph: Graph, node: Node, attributes: dict[str, Any]) -> dict[int, int | float]:
    factors = graph.array(node.inputs[2])
    wanted = ("linear", "half_pixel", 0)
    how = [attributes.get(key) for key in ("mode", "coordinate_transformation_mode", "antialias")]
    if tuple(how) != wanted or factors.shape != (4,):
        raise ValueError(f"Resize by {how}")
    return {0: _BILINEAR, 1: float(factors[2]), 2: float(factors[3])}


def _fused(layers: list[_Layer]) -> list[_Layer]:
    """With each ReLU inside the convolution before it, where nobody else reads that one."""
    readers = Counter(name for layer in layers for name in layer.inputs)
    maker = {name: layer for layer in layers for name in layer.outputs}
    kept = []
    for layer in layers:
        before = maker.get(layer.inputs[0]) if layer.kind == "ReLU" else None
        if (
            before is not None
            and before.kind in ("Convolution", "ConvolutionDepthWise", "Deconvolution")
            and readers[before.outputs[0]] == 1
        ):
            before.settings[9] = 1  # the activation
            before.outputs = layer.outputs
        else:
            kept.append(layer)
    return kept


def _split(layers: list[_Layer]) -> list[_Layer]:
    """With a layer that copies each value that several read: ncnn lets a value be read once."""
    readers = Counter(name for layer in layers for name in layer.inputs)
    readers[OUTPUT] += 1
    taken = Counter[str]()
    result = []
    for layer in layers:
        for place, name in enumerate(layer.inputs):
            if readers[name] > 1:
                layer.inputs[place] = _copy(name, taken[name])
                taken[name] += 1
        result.append(layer)
        for name in layer.outputs:
            if (count := readers[name]) > 1:
                copies = [_copy(name, number) for number in range(count)]
                result.append(_Layer("Split", [name], copies, {}))
    return result


def _copy(name: str, number: int) -> str:
    # A colon, because the exporter numbers values that are called alike with an underscore.
    return f"{name}:{number}"

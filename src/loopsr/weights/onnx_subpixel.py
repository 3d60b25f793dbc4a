"""The end of a sub-pixel network, in other layers that runtimes compute faster; the same picture.

A network here ends in ``shuffle(features) + enlarged input``: two layers on the large picture, and
runtimes spend more on them than on the same numbers before the shuffle. Enlarging linearly and
putting pixels in their places are convolutions, with weights that are written down and not learned.
A file keeps the plain layers, which any runtime reads; a backend asks for what serves it.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from loopsr.weights.onnx_graph import INPUT, OUTPUT, Graph, Node, tensor
from loopsr.weights.wire import BrokenError

BASE = "sr:base"  # the enlarged input of ``summed_small``, before the shuffle
_COLOURS = 3
_MAX_SCALE = 8  # a kernel's size grows with its fourth power, and a file may claim anything
_FACTORS = 2  # which input of a Resize; sizes come after it
_OTHER = ("antialias", "exclude_outside", "axes")  # what would make it another Resize
# ONNX has two names for the place of a pixel that differ only where the output is a single one.
_HALF_PIXEL = ("half_pixel", "pytorch_half_pixel")


def summed_small(graph: Graph) -> Graph:
    """``shuffle(a) + enlarged`` as ``shuffle(a + BASE)``, where ``BASE`` is a 3x3 convolution.

    Bilinear enlarging by a whole factor reads the pixel and its eight neighbours; beyond the edge,
    the edge again. A graph that does not end like that is given back as it is.
    """
    maker = {output: node for node in graph.nodes for output in node.outputs}
    total = maker.get(OUTPUT)
    terms = [maker[name] for name in total.inputs if name in maker] if total else []
    ends = {node.op: node for node in terms}
    if not total or total.op != "Add" or set(ends) != {"DepthToSpace", "Resize"}:
        return graph
    shuffle, resize = ends["DepthToSpace"], ends["Resize"]
    scale = _shuffled(shuffle)
    if not scale or not _enlarges_input(graph, resize, scale):
        return graph
    tensors = graph.tensors | {
        "sr:edge": tensor("sr:edge", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)),
        "sr:weight": tensor("sr:weight", bilinear_kernel(scale)),
    }
    side = (3, 3)
    nodes = [node for node in graph.nodes if node is not total and node is not shuffle]
    nodes += [
        Node.of("Pad", (INPUT, "sr:edge"), "sr:padded", mode="edge"),
        Node.of("Conv", ("sr:padded", "sr:weight"), BASE, kernel_shape=side, pads=(0, 0, 0, 0)),
        Node.of("Add", (shuffle.inputs[0], BASE), "sr:small"),
        dataclasses.replace(shuffle, inputs=("sr:small",), outputs=(OUTPUT,)),
    ]
    return dataclasses.replace(graph, nodes=nodes, tensors=tensors).pruned()


def spread_by_convolution(graph: Graph) -> Graph:
    """A shuffle that makes the output as a transposed convolution whose places do not overlap."""
    shuffle = next((node for node in graph.nodes if node.outputs == (OUTPUT,)), None)
    scale = _shuffled(shuffle) if shuffle else 0
    if not shuffle or not scale:
        return graph
    side = (scale, scale)
    inputs = (shuffle.inputs[0], "sr:places")
    spread = Node.of("ConvTranspose", inputs, OUTPUT, kernel_shape=side, strides=side)
    nodes = [spread if node is shuffle else node for node in graph.nodes]
    tensors = graph.tensors | {"sr:places": tensor("sr:places", places_kernel(scale))}
    return dataclasses.replace(graph, nodes=nodes, tensors=tensors)


def bilinear_kernel(scale: int) -> NDArray[np.float32]:
    """(3 scale^2, 3, 3, 3): each output pixel of each colour, of a pixel and its neighbours."""
    shares = np.zeros((scale, 3))
    for phase in range(scale):
        centre = (phase + 0.5) / scale - 0.5  # in input pixels, seen from the pixel's own centre
        left = math.floor(centre)
        shares[phase, left + 1] += 1 - (centre - left)
        shares[phase, left + 2] += centre - left
    kernel = np.zeros((_COLOURS, scale, scale, _COLOURS, 3, 3), np.float32)
    for colour in range(_COLOURS):
        kernel[colour, :, :, colour] = np.einsum("yi,xj->yxij", shares, shares)
    return kernel.reshape(-1, _COLOURS, 3, 3)


def places_kernel(scale: int) -> NDArray[np.float32]:
    """(3 scale^2, 3, scale, scale): where each channel goes in the large pixel of its colour."""
    return np.eye(_COLOURS * scale * scale, dtype=np.float32).reshape(-1, _COLOURS, scale, scale)


def _shuffled(node: Node) -> int:
    """By how much a node shuffles channels into pixels; 0 when it does not, or in another order."""
    if node.op != "DepthToSpace" or (len(node.inputs), len(node.outputs)) != (1, 1):
        return 0
    attributes = node.attributes()
    scale = attributes.get("blocksize")
    if not isinstance(scale, int) or not 1 < scale <= _MAX_SCALE:
        return 0
    return scale if attributes.get("mode") == "CRD" else 0


def _enlarges_input(graph: Graph, node: Node, scale: int) -> bool:
    """Whether a Resize makes the input linearly ``scale`` times as large, and nothing else."""
    attributes = node.attributes()
    place = attributes.get("coordinate_transformation_mode", _HALF_PIXEL[0])
    if len(node.inputs) != _FACTORS + 1 or node.inputs[0] != INPUT or place not in _HALF_PIXEL:
        return False
    if attributes.get("mode") != "linear" or any(attributes.get(name) for name in _OTHER):
        return False
    try:
        factors = graph.array(node.inputs[_FACTORS])
    except (BrokenError, KeyError):
        return False
    return bool(factors.tolist() == [1, 1, scale, scale])

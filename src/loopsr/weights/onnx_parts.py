"""Cut the graph of a recurrent network between steps, into segments that hand on its state.

Each segment goes from one step to another: it takes the features that were there, or a piece of
them, and gives the picture after its last step and the features that later ones read. All are whole
ONNX files in memory. Nothing need be named for that but the steps: what crosses a cut is found.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from loopsr.errors import WeightsError
from loopsr.weights.onnx_graph import INPUT, STEP, Graph, Node, Part
from loopsr.weights.wire import BYTES, VARINT, message

_PORT_IN, _PORT_OUT = 11, 12  # in a graph
_FLOAT32 = 1


@dataclasses.dataclass(frozen=True)
class Segment:
    """An ONNX file that reads ``inputs`` of the state, which holds ``lr`` before any step, and
    gives ``sr`` and what it ``adds`` to the state."""

    data: bytes
    inputs: tuple[str, ...]
    adds: tuple[str, ...]


def cut_parts(data: bytes, stops: Sequence[int], *, file: str) -> dict[int, Segment]:
    """Cut an ONNX file after each of ``stops``, which rise; the segment from the one before it
    (or from the input) to each of them.

    A stop of 0, the input, has none. Raises ``WeightsError`` for a file that does not name these
    steps.
    """
    graph = Graph.read(data, file=file)
    ends = [stop for stop in stops if stop != 0]
    rising = all(a < b for a, b in itertools.pairwise(stops))
    if not (ends and rising and min(ends) > 0 and ends[-1] <= graph.steps()):
        raise WeightsError(
            f"{file} names {graph.steps()} steps, {', '.join(map(str, stops))} were expected; "
            "export it again or pass --quality best"
        )
    known, segments = {INPUT}, {}
    for end in ends:
        whole, after = graph.cut(end), _ancestors(graph, f"{STEP}{end}")
        made = [node for node in whole.nodes if not known.intersection(node.outputs)]
        later = [node for node in graph.nodes if not after.intersection(node.outputs)]
        inputs = sorted(_read(made) & known)
        adds = sorted(_read(later) & after - known) if end != ends[-1] else []
        part = dataclasses.replace(whole, nodes=made)
        part.rest = [field for field in part.rest if field[0] != _PORT_IN]
        for ports, names in ((_PORT_IN, inputs), (_PORT_OUT, adds)):
            part.rest += [(ports, BYTES, _port(name, _channels(graph, name))) for name in names]
        segments[end] = Segment(part.pruned().to_bytes(), tuple(inputs), tuple(adds))
        known = after
    return segments


def _read(nodes: list[Node]) -> set[str]:
    return {name for node in nodes for name in node.inputs}


def _ancestors(graph: Graph, name: str) -> set[str]:
    """``name`` and every value that it is computed from; constants apart, of which each part has
    its own."""
    needed = {name}
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs) and node.inputs:
            needed.update(node.outputs, node.inputs)
    return {n for n in needed if n not in graph.tensors} - {
        output for node in graph.nodes if not node.inputs for output in node.outputs
    }


def _channels(graph: Graph, name: str) -> int:
    """How many channels a value has: those of the convolution that it comes from."""
    maker = {output: node for node in graph.nodes for output in node.outputs}
    while name in maker:
        node = maker[name]
        if node.op == "Conv":
            return int(graph.array(node.inputs[1]).shape[0])
        name = next((n for n in node.inputs if n not in graph.tensors), "")
    return 3


def _port(name: str, channels: int) -> bytes:
    """The ``ValueInfoProto`` of float32 (batch, channels, height, width)."""

    def text(value: str) -> bytes:
        return message([(2, BYTES, value.encode())])

    sides = (text("batch"), message([(1, VARINT, channels)]), text("height"), text("width"))
    shape = message([(1, BYTES, side) for side in sides])
    tensor = message([(1, VARINT, _FLOAT32), (2, BYTES, shape)])
    parts: list[Part] = [(1, BYTES, name.encode()), (2, BYTES, message([(1, BYTES, tensor)]))]
    return message(parts)

"""Cut the graph of a recurrent network between two steps, into parts that carry its state.

The first part gives the picture after step s and the features that later steps read, the second
part takes these features, or a piece of them, and gives the picture after step t. Both are whole
ONNX files in memory. Nothing need be named for that but the steps: what crosses the cut is found.
"""

from __future__ import annotations

import dataclasses

from loopsr.errors import WeightsError
from loopsr.weights.onnx_graph import STEP, Graph, Part
from loopsr.weights.wire import BYTES, VARINT, message

INPUT = "lr"
_PORT_IN, _PORT_OUT = 11, 12  # in a graph
_FLOAT32 = 1


@dataclasses.dataclass(frozen=True)
class Parts:
    """ONNX files: ``first`` (empty for step 0) reads ``lr`` and gives ``sr`` and ``carried``;
    ``later[t]`` reads ``inputs`` and gives the ``sr`` of step t."""

    first: bytes
    later: dict[int, bytes]
    carried: tuple[str, ...]
    inputs: tuple[str, ...]  # ``carried``, and ``lr`` where the last layers read it again


def cut_parts(data: bytes, start: int, ends: tuple[int, ...], *, file: str) -> Parts:
    """Cut an ONNX file after step ``start``; each of ``ends``, all above it, ends a second part.

    Step 0 is before the network: its state is ``lr``. Raises ``WeightsError`` for a file that does
    not name these steps.
    """
    graph = Graph.read(data, file=file)
    if not 0 <= start < min(ends) or max(ends) > graph.steps():
        raise WeightsError(
            f"{file} names {graph.steps()} steps, {start} to {max(ends)} were expected; "
            "export it again or pass --quality best"
        )
    if start == 0:
        return Parts(b"", {end: graph.cut(end).to_bytes() for end in ends}, (), (INPUT,))
    known = _ancestors(graph, f"{STEP}{start}")
    whole = {end: graph.cut(end) for end in ends}
    nodes = {
        end: [node for node in each.nodes if not known.intersection(node.outputs)]
        for end, each in whole.items()
    }
    read = {name for each in nodes.values() for node in each for name in node.inputs}
    carried = tuple(sorted(read & known - {INPUT}))
    inputs = (*carried, INPUT) if INPUT in read else carried
    ports = {name: _port(name, _channels(graph, name)) for name in carried}
    ports[INPUT] = _port(INPUT, 3)
    first = graph.cut(start)
    first.rest = [*first.rest, *((_PORT_OUT, BYTES, ports[name]) for name in carried)]
    later = {}
    for end, each in whole.items():
        others = [part for part in each.rest if part[0] != _PORT_IN]
        others += [(_PORT_IN, BYTES, ports[name]) for name in inputs]
        part = dataclasses.replace(each, nodes=nodes[end], rest=others)
        later[end] = part.pruned().to_bytes()
    return Parts(first.to_bytes(), later, carried, inputs)


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

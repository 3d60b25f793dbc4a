"""The graph of an ONNX file, to be read and cut without the `onnx` package.

A file of a recurrent network holds the graph of all its steps, written out, with one copy of the
weights. The features after step t are called ``step_t``; the layers after the last step are there
once and read ``step_T``. For fewer steps they read an earlier one, and what nobody needs any more
is left out. Field numbers: onnx/onnx.proto.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from loopsr.errors import WeightsError
from loopsr.weights.wire import BYTES, VARINT, BrokenError, Value, fields, message, varints

Part = tuple[int, int, Value | bytes]
Ints = tuple[int, ...]
INPUT, OUTPUT = "lr", "sr"
STEP = "step_"  # + number, from 1
_GRAPH = 7  # in a model
_NODE, _TENSOR = 1, 5  # in a graph
_INPUT, _OUTPUT, _OP, _ATTRIBUTE = 1, 2, 4, 5  # in a node
_FLOAT32, _INT64 = 1, 7  # types of a tensor
_TEXT, _LIST = 3, 7  # types of an attribute: text, whole numbers
_SMALL = 4096  # bytes


@dataclass(frozen=True)
class Node:
    """One operation; ``rest`` holds its other fields as they were."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    rest: tuple[Part, ...]

    @classmethod
    def of(cls, op: str, inputs: tuple[str, ...], output: str, **attributes: str | Ints) -> Node:
        """A node of one output; its attributes are text or lists of whole numbers."""
        rest = [(_ATTRIBUTE, BYTES, _attribute_bytes(*each)) for each in attributes.items()]
        return cls(op, inputs, (output,), tuple(rest))

    def attributes(self) -> dict[str, int | float | str | tuple[int, ...]]:
        """Numbers, text and lists of whole numbers; others are left out."""
        parts = (bytes(v) for n, _, v in self.rest if n == _ATTRIBUTE and not isinstance(v, int))
        return dict(map(_attribute, parts))


@dataclass
class Graph:
    """Nodes in order of execution and named tensors (messages as they were in the file)."""

    nodes: list[Node]
    tensors: dict[str, bytes]
    rest: list[Part] = field(default_factory=list)  # of the graph
    model: list[Part] = field(default_factory=list)  # of the file, without the graph

    @classmethod
    def read(cls, data: bytes, *, file: str) -> Graph:
        """Take the bytes of an ONNX file apart. Raises ``WeightsError`` when they are none."""
        try:
            model = list(fields(memoryview(data)))
            inner = next(v for n, _, v in model if n == _GRAPH and isinstance(v, memoryview))
            graph = cls([], {}, model=[part for part in model if part[0] != _GRAPH])
            for number, wire, value in fields(inner):
                if number == _NODE and isinstance(value, memoryview):
                    graph.nodes.append(_node(value))
                elif number == _TENSOR and isinstance(value, memoryview):
                    graph.tensors[_text(value, 8)] = bytes(value)
                else:
                    graph.rest.append((number, wire, value))
        except (BrokenError, StopIteration, UnicodeDecodeError) as error:
            reason = str(error) or "it has no graph"
            raise WeightsError(f"{file} is no ONNX file ({reason}); fetch it again") from error
        return graph

    def to_bytes(self) -> bytes:
        """The ONNX file of this graph."""
        parts: list[Part] = [(_NODE, BYTES, _node_bytes(node)) for node in self.nodes]
        parts += self.rest
        parts += [(_TENSOR, BYTES, tensor) for tensor in self.tensors.values()]
        return message([*self.model, (_GRAPH, BYTES, message(parts))])

    def steps(self) -> int:
        """How many steps can be told apart; 0 when none is named."""
        made = {name for node in self.nodes for name in node.outputs}
        count = 0
        while f"{STEP}{count + 1}" in made:
            count += 1
        return count

    def cut(self, iters: int) -> Graph:
        """The graph of the first ``iters`` steps. Raises ``ValueError`` for a step it has not."""
        if not 1 <= iters <= self.steps():
            raise ValueError(f"step {iters} is not one of {self.steps()}")
        last, wanted = f"{STEP}{self.steps()}", f"{STEP}{iters}"
        renamed = [
            dataclasses.replace(node, inputs=tuple(wanted if n == last else n for n in node.inputs))
            for node in self.nodes
        ]
        return dataclasses.replace(self, nodes=renamed).pruned()

    def pruned(self) -> Graph:
        """Without what the output does not need."""
        needed = {OUTPUT}
        kept = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                kept.append(node)
                needed.update(node.inputs)
        tensors = {name: data for name, data in self.tensors.items() if name in needed}
        return dataclasses.replace(self, nodes=kept[::-1], tensors=tensors)

    def unshared(self) -> Graph:
        """With a copy of small tensors (biases) for each node that reads them.

        OpenVINO joins a convolution with its bias and its ReLU only where the bias is its own.
        """
        tensors, seen, nodes = dict(self.tensors), set[str](), []
        for node in self.nodes:
            inputs = list(node.inputs)
            for place, name in enumerate(inputs):
                if len(tensors.get(name, b"")) > _SMALL or name not in tensors:
                    continue
                if name in seen:
                    inputs[place] = f"{name}:{node.outputs[0]}"
                    tensors[inputs[place]] = _renamed(tensors[name], inputs[place])
                seen.add(name)
            nodes.append(dataclasses.replace(node, inputs=tuple(inputs)))
        return dataclasses.replace(self, nodes=nodes, tensors=tensors)

    def array(self, name: str) -> NDArray[np.float32] | NDArray[np.int64]:
        """The numbers of a tensor of float32 or int64. Raises ``BrokenError`` for another."""
        dims: list[int] = []
        kind, raw = 0, b""
        for number, _, value in fields(memoryview(self.tensors[name])):
            if number == 1:
                dims += _whole_numbers(value)
            elif number == 2 and isinstance(value, int):
                kind = value
            elif number == 9 and isinstance(value, memoryview):
                raw = bytes(value)
        if kind not in (_FLOAT32, _INT64):
            raise BrokenError(f"tensor {name} is of type {kind}")
        array = np.frombuffer(raw, "<f4" if kind == _FLOAT32 else "<i8")
        if array.size != np.prod(dims, dtype=np.int64):
            raise BrokenError(f"tensor {name} has {array.size} numbers and the shape {dims}")
        return array.reshape(dims)


def tensor(name: str, array: NDArray[np.float32] | NDArray[np.int64]) -> bytes:
    """The message of a tensor, as ``Graph.tensors`` holds it."""
    kind = _FLOAT32 if array.dtype == np.float32 else _INT64
    parts: list[Part] = [(1, VARINT, side) for side in array.shape]
    return message(
        [*parts, (2, VARINT, kind), (8, BYTES, name.encode()), (9, BYTES, array.tobytes())]
    )


def with_steps(data: bytes, iters: int, *, of: int, file: str) -> bytes:
    """The bytes of an ONNX file cut to its first ``iters`` of ``of`` steps.

    Raises ``WeightsError`` when the file does not tell its steps apart.
    """
    if iters == of:
        return data
    graph = Graph.read(data, file=file)
    if graph.steps() != of:
        raise WeightsError(
            f"{file} names {graph.steps()} steps, its card says {of}, so it cannot stop after "
            f"{iters}; export it again or leave iters out"
        )
    return graph.cut(iters).to_bytes()


def _node(data: memoryview) -> Node:
    inputs: list[str] = []
    outputs: list[str] = []
    op = ""
    rest: list[Part] = []
    for number, wire, value in fields(data):
        if isinstance(value, memoryview) and number in (_INPUT, _OUTPUT, _OP):
            text = bytes(value).decode()
            if number == _OP:
                op = text
            else:
                (inputs if number == _INPUT else outputs).append(text)
        else:
            rest.append((number, wire, value))
    return Node(op, tuple(inputs), tuple(outputs), tuple(rest))


def _node_bytes(node: Node) -> bytes:
    return message(
        [
            *((_INPUT, BYTES, name.encode()) for name in node.inputs),
            *((_OUTPUT, BYTES, name.encode()) for name in node.outputs),
            (_OP, BYTES, node.op.encode()),
            *node.rest,
        ]
    )


def _attribute(data: bytes) -> tuple[str, int | float | str | tuple[int, ...]]:
    """Name and value; (name, ()) for kinds that no network here has."""
    name, found = "", dict[int, int | float | str]()
    many: list[int] = []
    for number, _, value in fields(memoryview(data)):
        if number == 1 and isinstance(value, memoryview):
            name = bytes(value).decode()
        elif number == 8:
            many += _whole_numbers(value)
        elif isinstance(value, int):
            found[number] = value
        elif number == 2:
            found[number] = struct.unpack("<f", value)[0]
        elif number == 4:
            found[number] = bytes(value).decode(errors="replace")
    single = {1: 2, 2: 3, 3: 4}.get(int(found.get(20, 0)))  # the attribute's type -> its field
    return name, found.get(single, 0) if single else tuple(many)


def _attribute_bytes(name: str, value: str | Ints) -> bytes:
    parts: list[Part] = [(1, BYTES, name.encode())]
    if isinstance(value, str):
        parts += [(4, BYTES, value.encode()), (20, VARINT, _TEXT)]
    else:
        parts += [*((8, VARINT, number) for number in value), (20, VARINT, _LIST)]
    return message(parts)


def _whole_numbers(value: Value) -> list[int]:
    """One number, or several that were packed together."""
    return [_signed(number) for number in ([value] if isinstance(value, int) else varints(value))]


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _text(data: memoryview, field_number: int) -> str:
    for number, _, value in fields(data):
        if number == field_number and isinstance(value, memoryview):
            return bytes(value).decode()
    return ""


def _renamed(tensor: bytes, name: str) -> bytes:
    kept: Iterable[Part] = (part for part in fields(memoryview(tensor)) if part[0] != 8)
    return message([*kept, (8, BYTES, name.encode())])

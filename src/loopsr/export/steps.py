"""Name the steps of a recurrent network in its ONNX graph, so that one file serves every number.

The network is traced with the picture of every step as an output. Walking back from the picture
of the last step and from that of step t at once, layer by layer, the two walks run through the same
layers until the second meets a value that the first network computes too: the features after step
t. They are called ``step_t``, those opposite ``step_T``; then all outputs but the last go.
"""

from __future__ import annotations

from typing import Any

from loopsr.errors import TrainingError
from loopsr.weights.onnx_graph import OUTPUT, STEP

WRAPPED = "network."


def name_steps(graph: Any, pictures: list[str]) -> None:
    """Rename the features of each step in an ``onnx.GraphProto`` and keep the last picture only.

    Weights lose the prefix ``WRAPPED``, of the module around the network that was traced.
    ``pictures`` are the outputs, one a step, first to last. Raises ``TrainingError`` when the steps
    do not end in the same layers.
    """
    maker = {name: node for node in graph.node for name in node.output}
    needed = _ancestors(maker, pictures[-1])
    names = {pictures[-1]: OUTPUT}
    for number, picture in enumerate(pictures[:-1], 1):
        pairs: set[tuple[str, str]] = set()
        _match(maker, needed, pictures[-1], picture, pairs)
        if len(pairs) != 1:
            raise TrainingError(
                f"the picture of step {number} differs from the last one in {len(pairs)} values, "
                "one was expected; give the network the same layers after every step"
            )
        ((last, own),) = pairs
        names[own] = f"{STEP}{number}"
        if names.setdefault(last, f"{STEP}{len(pictures)}") != f"{STEP}{len(pictures)}":
            raise TrainingError(
                f"the value {last} is the end of two steps; give the network one result a step"
            )
    _prune(graph, needed, pictures[-1])
    names |= {item.name: item.name.removeprefix(WRAPPED) for item in graph.initializer}
    rename(graph, names)


def _ancestors(maker: dict[str, Any], name: str) -> set[str]:
    """``name`` and every value that it is computed from."""
    found, open_ = {name}, [name]
    while open_:
        node = maker.get(open_.pop())
        fresh = set(node.input) - found if node else set()
        found |= fresh
        open_ += fresh
    return found


def _match(
    maker: dict[str, Any], needed: set[str], last: str, own: str, pairs: set[tuple[str, str]]
) -> None:
    """Walk back through the same layers from both; collect where the second joins the first."""
    if last == own:
        return
    if own in needed:
        pairs.add((last, own))
        return
    ours, theirs = maker.get(own), maker.get(last)
    if not (ours and theirs and ours.op_type == theirs.op_type) or len(ours.input) != len(
        theirs.input
    ):
        raise TrainingError(
            f"the values {last} and {own} are made by different layers; "
            "give the network the same layers after every step"
        )
    for a, b in zip(theirs.input, ours.input, strict=True):
        _match(maker, needed, a, b, pairs)


def _prune(graph: Any, needed: set[str], picture: str) -> None:
    for kind in ("node", "initializer", "output"):
        items = getattr(graph, kind)
        kept = [
            item
            for item in items
            if (needed.intersection(item.output) if kind == "node" else item.name in needed)
            and (kind != "output" or item.name == picture)
        ]
        del items[:]
        items.extend(kept)


def rename(graph: Any, names: dict[str, str]) -> None:
    """Give values, and tensors, of an ``onnx.GraphProto`` other names."""
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(name, name) for name in values]
    for item in (*graph.initializer, *graph.output):
        item.name = names.get(item.name, item.name)

"""Read an ONNX file's card, and refuse what must not reach a runtime, without the `onnx` package.

An ONNX file is a Protocol Buffers message. This walks over its wire format and looks at two things:
the metadata, which holds the card, and whether any tensor points to a file outside (a stranger's
model could name any file of the user's). Field numbers: onnx/onnx.proto, encoding: protobuf.dev.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from loopsr.card import CARD_KEY, MAX_CARD_BYTES
from loopsr.errors import WeightsError
from loopsr.weights.wire import BrokenError, fields, varints

_MAX_DEPTH = 32
_MAX_RANK = 16

# message -> field number -> message inside. Everything else is skipped unread.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse",
        23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
}
_METADATA = 14  # in a model
_DIMS, _DATA_TYPE, _EXTERNAL_DATA, _DATA_LOCATION = 1, 2, 13, 14  # in a tensor
_WEIGHT_TYPES = (1, 2, 3, 10, 11, 16)  # float, uint8, int8, float16, double, bfloat16


def read_card_text(data: bytes, *, file: str) -> str:
    """The card's JSON out of the bytes of an ONNX file.

    Raises ``WeightsError`` when the bytes are no ONNX file, hold no card, or point to outside data.
    """
    refuse_external(data, file=file)
    text = find_card_text(data, file=file)
    if text is None:
        raise WeightsError(
            f"{file} holds no model card ({CARD_KEY} in its metadata); export it with loopsr"
        )
    return text


def find_card_text(data: bytes, *, file: str) -> str | None:
    """The card's JSON; None for an ONNX file of others. Raises ``WeightsError`` for other bytes."""
    try:
        for number, _, value in fields(memoryview(data)):
            if number == _METADATA and isinstance(value, memoryview):
                key, text = _entry(value)
                if key == CARD_KEY.encode() and len(text) <= MAX_CARD_BYTES:
                    return text.decode()
    except (BrokenError, UnicodeDecodeError) as error:
        raise WeightsError(f"{file} is no ONNX file ({error}); fetch it again") from error
    return None


def refuse_external(data: bytes, *, file: str) -> None:
    """Raise ``WeightsError`` when a tensor of an ONNX file points to data outside of it."""
    try:
        for tensor in _tensors(memoryview(data), "model", 0):
            for number, _, value in fields(tensor):
                if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value == 1):
                    raise WeightsError(
                        f"{file} points to weights in another file, which is not accepted; "
                        "save the model with all weights inside"
                    )
    except BrokenError as error:
        raise WeightsError(f"{file} is no ONNX file ({error}); fetch it again") from error


def count_weights(data: bytes, *, file: str) -> int:
    """How many floating-point or 8-bit numbers the tensors of an ONNX file hold, all together."""
    total = 0
    try:
        for tensor in _tensors(memoryview(data), "model", 0):
            sides: list[int] = []
            kind: int | memoryview = 0
            for number, _, value in fields(tensor):
                if number == _DIMS:
                    sides += [value] if isinstance(value, int) else varints(value)
                elif number == _DATA_TYPE:
                    kind = value
            if len(sides) > _MAX_RANK:
                raise BrokenError(f"it has a tensor of {len(sides)} dimensions")
            if kind in _WEIGHT_TYPES:
                total += math.prod(sides)
    except BrokenError as error:
        raise WeightsError(f"{file} is no ONNX file ({error}); fetch it again") from error
    return total


def _entry(message: memoryview) -> tuple[bytes, bytes]:
    texts = {number: bytes(v) for number, _, v in fields(message) if isinstance(v, memoryview)}
    return texts.get(1, b""), texts.get(2, b"")


def _tensors(message: memoryview, kind: str, depth: int) -> Iterator[memoryview]:
    """All tensors inside a message, whatever holds them."""
    if depth > _MAX_DEPTH:
        raise BrokenError("it is nested too deeply")
    if kind == "tensor":
        yield message
        return
    inside = _INSIDE[kind]
    for number, _, value in fields(message):
        if number in inside and isinstance(value, memoryview):
            yield from _tensors(value, inside[number], depth + 1)

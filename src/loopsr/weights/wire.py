"""Protocol Buffers on the wire, as much as an ONNX file needs: read fields, write fields.

Encoding: https://protobuf.dev/programming-guides/encoding. A message is a row of fields; a field is
a number with a whole number (varint), with 4 or 8 bytes, or with bytes that say their length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}
Value = int | memoryview


class BrokenError(ValueError):
    """The bytes are no Protocol Buffers message."""


def fields(message: memoryview) -> Iterator[tuple[int, int, Value]]:
    """(field number, wire type, value) of one message; the value of a varint is a number."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = _varint(message, at)
            yield number, wire, value
            continue
        if wire == BYTES:
            length, at = _varint(message, at)
        elif wire in _FIXED:
            length = _FIXED[wire]
        else:
            raise BrokenError(f"it has wire type {wire}")
        if at + length > len(message):
            raise BrokenError(f"it is cut off, {at + length - len(message)} bytes are missing")
        yield number, wire, message[at : at + length]
        at += length


def varints(packed: memoryview) -> list[int]:
    """Whole numbers that one field holds, one after the other."""
    numbers, at = [], 0
    while at < len(packed):
        number, at = _varint(packed, at)
        numbers.append(number)
    return numbers


def message(parts: Iterable[tuple[int, int, Value | bytes]]) -> bytes:
    """The bytes of a message of (field number, wire type, value)."""
    out = bytearray()
    for number, wire, value in parts:
        out += _encoded(number << 3 | wire)
        if isinstance(value, int):
            out += _encoded(value)
            continue
        if wire == BYTES:
            out += _encoded(len(value))
        out += value
    return bytes(out)


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise BrokenError("it is cut off")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise BrokenError("it has a number of more than 64 bits")


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)

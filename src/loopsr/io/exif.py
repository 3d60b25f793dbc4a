"""EXIF blocks edited as bytes: orientation set to 1, thumbnail taken out, size brought up to date.

Only these fields change; everything else, maker notes with their absolute offsets too, stays where
it is. Source: EXIF 2.32 (CIPA DC-008) and TIFF 6.0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

ORIENTATION = 0x0112
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
_EXIF_IFD = 0x8769
_PIXEL_X, _PIXEL_Y = 0xA002, 0xA003
_THUMB_AT, _THUMB_LENGTH = 0x0201, 0x0202
_MOST_ENTRIES = 4096


@dataclass(frozen=True)
class _Entry:
    tag: int
    kind: int
    count: int
    at: int  # where the value (or its offset) lies


def clean_exif(block: bytes) -> bytes | None:
    """The block from its TIFF header on, orientation 1, without thumbnail; None when broken."""
    data = bytearray(block.removeprefix(b"Exif\0\0"))
    order = _order(data)
    if order is None:
        return None
    try:
        first = _long(data, 4, order)
        entries, next_at = _directory(data, first, order)
        for entry in entries:
            if entry.tag == ORIENTATION:
                _store(data, entry, 1, order)
        _drop_thumbnail(data, next_at, order)
    except (struct.error, ValueError):
        return None
    return bytes(data)


def resized_exif(block: bytes, *, width: int, height: int) -> bytes:
    """The block with PixelXDimension and PixelYDimension of the new size, where it has them."""
    data = bytearray(block)
    order = _order(data)
    if order is None:
        return block
    try:
        entries, _ = _directory(data, _long(data, 4, order), order)
        for pointer in (entry for entry in entries if entry.tag == _EXIF_IFD):
            inner, _ = _directory(data, _long(data, pointer.at, order), order)
            for entry in inner:
                if entry.tag in (_PIXEL_X, _PIXEL_Y):
                    _store(data, entry, width if entry.tag == _PIXEL_X else height, order)
    except (struct.error, ValueError):
        return block
    return bytes(data)


def exif_resolution(block: bytes) -> tuple[float | None, float | None]:
    """Pixels per millimetre, across and down; (None, None) where the block does not say."""
    data = bytearray(block)
    order = _order(data)
    if order is None:
        return None, None
    found: dict[int, float] = {}
    unit = 2
    try:
        for entry in _directory(data, _long(data, 4, order), order)[0]:
            if entry.tag in (_X_RESOLUTION, _Y_RESOLUTION) and entry.kind == 5:
                place = _long(data, entry.at, order)
                over, under = struct.unpack_from(order + "II", data, place)
                found[entry.tag] = over / under if under else 0.0
            elif entry.tag == _RESOLUTION_UNIT and entry.kind == 3:
                unit = struct.unpack_from(order + "H", data, entry.at)[0]
    except (struct.error, ValueError):
        return None, None
    if (
        unit not in (2, 3)
        or min(found.get(tag, 0.0) for tag in (_X_RESOLUTION, _Y_RESOLUTION)) <= 0
    ):
        return None, None
    a_unit = 25.4 if unit == 2 else 10.0  # millimetres in an inch, in a centimetre
    return found[_X_RESOLUTION] / a_unit, found[_Y_RESOLUTION] / a_unit


def _order(data: bytearray) -> str | None:
    return {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[:4]))


def _long(data: bytearray, at: int, order: str) -> int:
    return int(struct.unpack_from(order + "I", data, at)[0])


def _directory(data: bytearray, at: int, order: str) -> tuple[list[_Entry], int]:
    """The entries of the directory at `at`, and the place of its pointer to the next one."""
    count = struct.unpack_from(order + "H", data, at)[0]
    if count > _MOST_ENTRIES:
        raise ValueError("too many entries")
    return list(_entries(data, at + 2, count, order)), at + 2 + 12 * count


def _entries(data: bytearray, at: int, count: int, order: str) -> Iterator[_Entry]:
    for place in range(at, at + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, place)
        yield _Entry(tag, kind, number, place + 8)


def _store(data: bytearray, entry: _Entry, value: int, order: str) -> None:
    if entry.count != 1:
        return
    if entry.kind == 4:
        struct.pack_into(order + "I", data, entry.at, value)
    elif entry.kind == 3 and value < 65536:
        struct.pack_into(order + "H", data, entry.at, value)


def _drop_thumbnail(data: bytearray, next_at: int, order: str) -> None:
    """Unlink the second directory, and clear its JPEG so that no old view of the picture leaks."""
    second = _long(data, next_at, order)
    if second == 0:
        return
    struct.pack_into(order + "I", data, next_at, 0)
    entries, _ = _directory(data, second, order)
    found = {
        entry.tag: _long(data, entry.at, order)
        for entry in entries
        if entry.tag in (_THUMB_AT, _THUMB_LENGTH) and entry.kind == 4
    }
    start, length = found.get(_THUMB_AT, 0), found.get(_THUMB_LENGTH, 0)
    if not start or not length or start + length > len(data):
        return
    if start + length == len(data):
        del data[start:]
    else:
        data[start : start + length] = bytes(length)

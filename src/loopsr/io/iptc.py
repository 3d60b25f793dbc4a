"""IPTC records, in the two wrappings that files use.

A JPEG wraps them as a Photoshop resource, a TIFF holds them bare. Other Photoshop resources, an old
thumbnail among them, are not carried. Source: IPTC-IIM 4.2, Adobe Photoshop file format (8BIM).
"""

from __future__ import annotations

import struct

_HEAD = b"Photoshop 3.0\0"
_IPTC_ID = 0x0404


def bare_iptc(block: bytes) -> bytes | None:
    """The bare records of either wrapping; None when there are none."""
    if not block.startswith(_HEAD):
        return block if block[:1] == b"\x1c" else None
    at = len(_HEAD)
    while block[at : at + 4] == b"8BIM" and at + 12 <= len(block):
        (kind,) = struct.unpack_from(">H", block, at + 4)
        name = block[at + 6]
        start = at + 6 + name + 1 + (name + 1) % 2
        if start + 4 > len(block):
            return None
        (size,) = struct.unpack_from(">I", block, start)
        data = block[start + 4 : start + 4 + size]
        if kind == _IPTC_ID:
            return data if len(data) == size and size else None
        at = start + 4 + size + size % 2
    return None


def photoshop_iptc(records: bytes) -> bytes:
    """Bare records wrapped as a JPEG wants them."""
    padded = records + bytes(len(records) % 2)
    return _HEAD + b"8BIM" + struct.pack(">HHI", _IPTC_ID, 0, len(records)) + padded

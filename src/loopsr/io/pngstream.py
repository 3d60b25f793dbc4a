"""Rows as an uncompressed PNG byte stream: the one format that libvips reads strictly forward.

libvips as packed for Python has no PPM reader and its raw reader needs a file; PNG with stored
deflate blocks costs little more than a copy and its checksums. W3C PNG (third edition); RFC 1950
and RFC 1951 for the stored blocks.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
_BLOCK = 65535


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """One PNG chunk: length, kind, data, checksum."""
    check = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def png_head(*, width: int, height: int, bands: int, depth: int, exif: bytes | None) -> bytes:
    """Signature, header and (when given) EXIF block of a PNG stream."""
    header = struct.pack(">IIBBBBB", width, height, depth, _COLOUR_TYPE[bands], 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    return head + (png_chunk(b"eXIf", exif) if exif else b"")


def png_body(bands: Iterable[NDArray[Any]]) -> Iterator[bytes]:
    """Bands of rows (h, w, c), uint8 or uint16, as IDAT chunks; the end comes with the last."""
    adler, start = 1, b"\x78\x01"
    for band in bands:
        raw = _scanlines(band)
        adler = zlib.adler32(raw, adler)
        yield png_chunk(b"IDAT", start + _stored(raw))
        start = b""
    last = struct.pack("<BHH", 1, 0, 0xFFFF) + struct.pack(">I", adler)
    yield png_chunk(b"IDAT", start + last) + png_chunk(b"IEND", b"")


def _scanlines(band: NDArray[Any]) -> bytes:
    rows = band.shape[0]
    big_endian = np.ascontiguousarray(band, dtype=">u2" if band.dtype == np.uint16 else "u1")
    samples = big_endian.reshape(rows, -1).view(np.uint8)
    lines = np.zeros((rows, 1 + samples.shape[1]), np.uint8)  # each line starts with filter 0
    lines[:, 1:] = samples
    return lines.tobytes()


def _stored(raw: bytes) -> bytes:
    pieces: list[bytes] = []
    for start in range(0, len(raw), _BLOCK):
        piece = raw[start : start + _BLOCK]
        pieces.append(struct.pack("<BHH", 0, len(piece), len(piece) ^ 0xFFFF))
        pieces.append(piece)
    return b"".join(pieces)

"""Finished segments on disk: encoded frames with a checksum, complete or not there at all.

A file is a line that names the format, a line of JSON, the packets, and a SHA-256 of all of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loopsr.errors import VideoReadError
from loopsr.io.video.encoder import Coded

_MAGIC = b"loopsr segment 1\n"
_PACKET = struct.Struct("<qqBI")  # pts, duration, key frame, bytes
_DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A segment's packets in the order of decoding, and its codec's header."""

    extradata: bytes
    packets: tuple[Coded, ...]

    @property
    def frames(self) -> int:
        """How many frames it holds."""
        return len(self.packets)


def write_segment(path: Path, segment: Segment) -> None:
    """Write a segment in one step. Raises ``OSError``; then nothing is there."""
    head = {"extradata": segment.extradata.hex(), "packets": len(segment.packets)}
    parts = [_MAGIC, json.dumps(head).encode() + b"\n"]
    for packet in segment.packets:
        parts.append(_PACKET.pack(packet.pts, packet.duration, packet.key, len(packet.data)))
        parts.append(packet.data)
    digest = hashlib.sha256()
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            for piece in parts:
                digest.update(piece)
                file.write(piece)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_segment(path: Path) -> Segment:
    """Read a segment and check it whole. Raises ``VideoReadError`` for anything but that."""
    try:
        data = path.read_bytes()
        body = memoryview(data)[:-_DIGEST]
        if not data.startswith(_MAGIC) or hashlib.sha256(body).digest() != data[-_DIGEST:]:
            raise ValueError("the checksum is wrong")
        end = data.index(b"\n", len(_MAGIC)) + 1
        head = json.loads(data[len(_MAGIC) : end])
        packets = tuple(_packets(body, end))
        if len(packets) != head["packets"]:
            raise ValueError("packets are missing")
        return Segment(extradata=bytes.fromhex(head["extradata"]), packets=packets)
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise VideoReadError(f"{path.name}: no whole segment ({error}); delete it") from None


def _packets(body: memoryview, position: int) -> Iterator[Coded]:
    while position < len(body):
        pts, duration, key, size = _PACKET.unpack_from(body, position)
        position += _PACKET.size
        yield Coded(
            pts=pts, duration=duration, key=bool(key), data=bytes(body[position : position + size])
        )
        position += size

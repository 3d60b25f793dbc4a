"""Text subtitles between containers: MP4 and Matroska store the same words differently."""

from __future__ import annotations

import re
import struct
from typing import Any

from loopsr.io.video.pyav import pyav

# Muxer -> {codec of the source: the one that the muxer takes}.
_TWINS = {
    "mp4": {"subrip": "mov_text", "srt": "mov_text"},
    "mov": {"subrip": "mov_text", "srt": "mov_text"},
    "matroska": {"mov_text": "subrip"},
}


def twin_of(codec: str, muxer: str) -> str | None:
    """The codec that subtitles become in a container; None where they are copied as they are."""
    return _TWINS.get(muxer, {}).get(codec)


def convert_packet(packet: Any, twin: str) -> Any:
    """One subtitle in the other codec, at the same time; marks such as <i> become plain text."""
    data = bytes(packet)
    if twin == "mov_text":
        text = re.sub(rb"</?[a-zA-Z][^<>]*>", b"", data.replace(b"\r\n", b"\n")).strip(b"\n")
        data = struct.pack(">H", len(text)) + text
    else:
        (size,) = struct.unpack_from(">H", data) if len(data) >= 2 else (0,)
        data = data[2 : 2 + size]
    copy = pyav().Packet(data)
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.time_base, copy.is_keyframe = packet.time_base, True
    return copy

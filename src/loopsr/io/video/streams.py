"""The streams of a source beside its picture: each gets a place in the result, or is lost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopsr.errors import VideoWriteError
from loopsr.io.video.clip import is_cover, opened
from loopsr.io.video.codecs import CONTAINERS
from loopsr.io.video.pyav import first_line, pyav
from loopsr.io.video.subtitles import twin_of

# Tags that a container writes itself, or that speak of the old picture stream.
_STALE_TAGS = ("BPS", "NUMBER_OF", "_STATISTICS", "DURATION", "vendor_id", "encoder", "ENCODER")
_CHAPTER_TRACK = "bin_data"  # how MP4 stores chapters, as FFmpeg names it
_COVERS = {"png": ("cover.png", "image/png"), "mjpeg": ("cover.jpg", "image/jpeg")}


@dataclass(frozen=True)
class Copied:
    """A stream of the result; ``twin`` is the codec that its packets are converted to, if any."""

    stream: Any
    twin: str | None = None


def copy_stream(file: Any, stream: Any, path: Path, suffix: str) -> tuple[Copied | None, str]:
    """Give a stream of the source ``path`` its place in ``file``, whose name ends in ``suffix``.

    Gives None where no packets are to be copied, and what is lost, in words, or "". Raises
    ``VideoWriteError`` for sound that does not fit: it is never dropped.
    """
    name = _codec_name(stream)
    try:
        copied = _copied(file, stream, path, suffix, name)
    except (pyav().error.FFmpegError, ValueError, TypeError) as error:
        if stream.type == "audio":
            raise VideoWriteError(
                f"the sound ({name}) of {path.name} cannot be put into {suffix} as it is "
                f"({first_line(error)}); name the result .mkv"
            ) from None
        chapters = stream.type == "data" and name == _CHAPTER_TRACK  # kept as such
        reason = f"{stream.type} stream {stream.index} ({name}) cannot be kept in {suffix}"
        return None, "" if chapters else reason
    if copied is not None:
        copied.stream.metadata.update(kept_tags(stream))
        copied.stream.disposition = stream.disposition
    return copied, ""


def kept_tags(stream: Any) -> dict[str, str]:
    """The tags of a stream that are still true in the result."""
    return {key: text for key, text in stream.metadata.items() if not key.startswith(_STALE_TAGS)}


def _copied(file: Any, stream: Any, path: Path, suffix: str, name: str) -> Copied | None:
    kind, matroska = stream.type, suffix == ".mkv"
    if kind == "data" or (kind == "video" and not is_cover(stream)):
        raise ValueError("one picture, and what can be shown with it")
    if kind == "attachment" and not matroska:
        raise ValueError("Matroska alone has attachments")
    if kind == "video" and matroska:
        usual = _COVERS.get(name, ("", ""))
        label = stream.metadata.get("filename", usual[0])
        mime = stream.metadata.get("mimetype", usual[1])
        file.add_attachment(label, mime, _content(path, stream.index))
        return None
    twin = twin_of(name, CONTAINERS[suffix]) if kind == "subtitle" else None
    if twin is None:
        return Copied(file.add_stream_from_template(stream, opaque=True))
    return Copied(file.add_mux_stream(twin, time_base=stream.time_base), twin)


def _content(path: Path, index: int) -> bytes:
    """The one packet of a cover picture."""
    with opened(path) as container:
        for packet in container.demux(container.streams[index]):
            if packet.size:
                return bytes(packet)
    raise ValueError("an empty cover")


def _codec_name(stream: Any) -> str:
    if stream.codec_context is not None:
        return str(stream.codec_context.name)
    return str(getattr(stream, "name", None) or "unknown")

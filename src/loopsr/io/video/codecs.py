"""The codecs that are written: their encoders, containers, pixel formats and quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loopsr.errors import UnknownNameError, UsageError
from loopsr.io.video.layout import Layout, layout_of

# Suffix -> FFmpeg's muxer.
CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}
# What is a video by its name, for whole folders; a single file is opened whatever its name is.
SUFFIXES = (*CONTAINERS, ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp")


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A codec: ``formats`` are the pixel formats that it is written in, ``crf`` its usual quality
    (0 best; None: it has no such number), ``most`` the largest. ``limited``: it knows no full
    range.
    """

    name: str
    encoder: str
    suffixes: tuple[str, ...]
    formats: tuple[str, ...]
    crf: int | None = None
    most: int = 51
    limited: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


def _formats(names: str, depths: str) -> tuple[str, ...]:
    return tuple(name + depth for name in names.split() for depth in ["", *depths.split()])


CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec(
            name="h264",
            encoder="libx264",
            suffixes=(".mp4", ".m4v", ".mov", ".mkv"),
            formats=_formats("yuv420p yuv422p yuv444p", "10le"),
            crf=17,
            options={"preset": "medium"},
        ),
        Codec(
            name="h265",
            encoder="libx265",
            suffixes=(".mp4", ".m4v", ".mov", ".mkv"),
            formats=_formats("yuv420p yuv422p yuv444p", "10le 12le"),
            crf=19,
            options={"preset": "medium", "x265-params": "log-level=none"},
        ),
        Codec(
            name="av1",
            encoder="libsvtav1",
            suffixes=(".mp4", ".m4v", ".mkv", ".webm"),
            formats=("yuv420p", "yuv420p10le"),
            crf=23,
            most=63,
            options={"preset": "7"},
        ),
        Codec(
            name="prores",
            encoder="prores_ks",
            suffixes=(".mov", ".mkv"),
            formats=("yuv422p10le", "yuv444p10le", "yuva444p10le"),
            limited=True,
            options={"vendor": "apl0"},
        ),
        Codec(
            name="ffv1",
            encoder="ffv1",
            suffixes=(".mkv",),
            formats=(
                *_formats("yuv420p yuv422p yuv444p gray", "10le 12le 16le"),
                *_formats("yuva420p", "10le"),
                *_formats("yuva422p yuva444p", "10le 12le"),
                *("bgr0", "bgra", "gbrp10le", "gbrp12le", "gbrp14le", "gbrp16le", "gbrap10le"),
                *("gbrap12le", "gbrap16le", "yuv440p", "yuv411p"),
            ),
            # Level 3: every slice has a checksum, so that damage is found.
            options={"level": "3", "slicecrc": "1", "slices": "4", "coder": "1", "context": "1"},
        ),
    )
}


def find_codec(name: str | None, target: Path, source: Layout) -> Codec:
    """The codec to write into ``target``; without a name the container's usual one.

    That is H.264 for 8 bits, H.265 for more (few devices play 10 bits of H.264), AV1 in WebM.
    Raises ``UnknownNameError``, and ``UsageError`` where container and codec do not fit.
    """
    suffix = target.suffix.lower()
    if suffix not in CONTAINERS:
        raise UsageError(
            f"the name {str(target)!r} does not say the container; end it in one of "
            f"{' '.join(CONTAINERS)}"
        )
    if name is None:
        name = "av1" if suffix == ".webm" else "h264" if source.depth <= 8 else "h265"
    if name not in CODECS:
        raise UnknownNameError("codec", name, CODECS)
    codec = CODECS[name]
    if suffix not in codec.suffixes:
        fits = [other.name for other in CODECS.values() if suffix in other.suffixes]
        raise UsageError(
            f"{name} cannot be put into {suffix}; name the result {' or '.join(codec.suffixes)}, "
            f"or pass --codec {' or '.join(fits)}"
        )
    return codec


def check_crf(codec: Codec, crf: int | None) -> int | None:
    """The quality to encode by. Raises ``UsageError`` when the codec cannot have it."""
    if crf is None:
        return codec.crf
    if codec.crf is None:
        with_crf = [other.name for other in CODECS.values() if other.crf is not None]
        raise UsageError(
            f"{codec.name} has no --crf, its quality is fixed; leave it out or pass --codec "
            f"{' or '.join(with_crf)}"
        )
    if not 0 <= crf <= codec.most:
        raise UsageError(
            f"--crf is {crf}, {codec.name} takes 0 (best) to {codec.most}; "
            f"pass {codec.crf}, or leave it out"
        )
    return crf


def choose_format(codec: Codec, source: Layout) -> tuple[Layout, list[str]]:
    """The pixel format of a codec that keeps most of ``source``, and what it cannot keep."""
    layouts = [layout_of(name) for name in codec.formats]
    best = min(layouts, key=lambda layout: _loss(source, layout))
    lost = []
    if best.depth < source.depth:
        lost.append(f"{best.depth} of {source.depth} bits are kept")
    if source.alpha and not best.alpha:
        lost.append("transparency is dropped")
    if source.kind == "rgb" and best.kind != "rgb":
        lost.append("RGB becomes YUV")
    if source.kind != "grey" and (best.sub[0] > source.sub[0] or best.sub[1] > source.sub[1]):
        lost.append("colour is kept at half its resolution")
    return best, lost


def _loss(source: Layout, layout: Layout) -> tuple[float, ...]:
    """What a layout loses of the source, most important first, then what it wastes."""
    sub, kept = (source.sub if source.kind != "grey" else (2, 2)), layout.sub
    return (
        source.alpha and not layout.alpha,
        max(0, source.depth - layout.depth),
        source.kind == "yuv" and layout.kind == "grey",
        max(0, kept[0] - sub[0]) + max(0, kept[1] - sub[1]),
        source.kind == "rgb" and layout.kind != "rgb",
        source.kind != "rgb" and layout.kind == "rgb",
        source.kind != layout.kind,
        layout.depth - source.depth,
        layout.alpha and not source.alpha,
        max(0, sub[0] - kept[0]) + max(0, sub[1] - kept[1]),
    )

"""What the numbers of a video mean: matrix, range, place of the chroma samples, and RGB.

YUV frames are upscaled plane by plane and never pass through RGB, so nothing here touches them.
RGB is needed where the source is RGB and the codec is not, and for previews.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.io.video.layout import Layout
from loopsr.io.video.pyav import pyav

Floats = NDArray[np.float32]

FULL = 2  # AVCOL_RANGE_JPEG
_LIMITED = 1
_UNSPECIFIED = 2  # of primaries, transfer and matrix
_RGB_MATRIX = 0
# Matrix of FFmpeg's number -> weights of red and blue in luma (ITU-R BT.709, BT.601, BT.2020;
# FCC; SMPTE 240M).
_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
_HD = 576  # rows above which an untagged picture is taken for BT.709, as players do
# Where the first chroma sample lies: 0 on the first luma sample, 1 midway to the next; (x, y).
_SITES = {"left": (0, 1), "center": (1, 1), "topleft": (0, 0), "top": (1, 0)}
_LISTENING = threading.Lock()  # FFmpeg's log has one level for the whole process


@dataclass(frozen=True, kw_only=True)
class Colour:
    """Tags of a stream by FFmpeg's numbers, and the place of chroma: left, center, topleft..."""

    primaries: int = _UNSPECIFIED
    transfer: int = _UNSPECIFIED
    matrix: int = _UNSPECIFIED
    range: int = 0
    site: str = "unspecified"

    @property
    def chroma_site(self) -> tuple[int, int]:
        """Halves of a step, across and down, from the first luma to the first chroma sample.

        What is not said is taken from the codecs' own rule: left, or the centre for full range
        (JPEG).
        """
        usual = "center" if self.range == FULL else "left"
        return _SITES.get(self.site, _SITES[usual])


def colour_of(frame: Any, layout: Layout) -> Colour:
    """The tags of a decoded frame; its decoder must have no threads of its own."""
    return Colour(
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        matrix=int(frame.colorspace),
        range=FULL if layout.full_range else int(frame.color_range),
        site=_chroma_site(frame) if layout.sub != (1, 1) else "unspecified",
    )


def encoded_colour(
    colour: Colour, source: Layout, target: Layout, *, height: int, limited: bool = False
) -> Colour:
    """The tags of a picture in the layout of the target, of ``height`` rows at its source.

    ``limited`` says that the codec knows no full range.
    """
    if source.kind != "rgb" or target.kind == "rgb":
        return replace(colour, range=_LIMITED) if limited else colour
    matrix = 1 if height > _HD else 6
    return Colour(
        primaries=colour.primaries, transfer=colour.transfer, matrix=matrix, range=_LIMITED
    )


def yuv_from_rgb(rgb: Floats, colour: Colour, top: int) -> list[Floats]:
    """RGB (h, w, 3) in [0, 1] as Y, U, V (h, w) in code values of 0 to ``top``."""
    red, blue = _weights(colour, len(rgb))
    offset, luma, chroma = _scales(colour, top)
    y = red * rgb[..., 0] + (1 - red - blue) * rgb[..., 1] + blue * rgb[..., 2]
    u = (rgb[..., 2] - y) * (chroma / (2 * (1 - blue)))
    v = (rgb[..., 0] - y) * (chroma / (2 * (1 - red)))
    middle = (top + 1) / 2
    return [np.asarray(p, np.float32) for p in (y * luma + offset, u + middle, v + middle)]


def rgb_from_yuv(planes: list[Floats], colour: Colour, top: int, height: int) -> Floats:
    """Y, U, V of one size, in code values of 0 to ``top``, as RGB (h, w, 3) cut to [0, 1].

    ``height`` is that of the source, by which an untagged matrix is guessed.
    """
    red, blue = _weights(colour, height)
    offset, luma, chroma = _scales(colour, top)
    middle = (top + 1) / 2
    y = (planes[0] - offset) / luma
    r = y + (planes[2] - middle) * (2 * (1 - red) / chroma)
    b = y + (planes[1] - middle) * (2 * (1 - blue) / chroma)
    g = (y - red * r - blue * b) / (1 - red - blue)
    return np.stack([r, g, b], axis=2).clip(0, 1).astype(np.float32)


def recoded(
    plane: Floats, role: str, old: tuple[Colour, Layout], new: tuple[Colour, Layout]
) -> Floats:
    """A plane of luma, chroma or alpha in the code values of another range or depth."""
    (old_tags, old_layout), (new_tags, new_layout) = old, new
    full = old_tags.range == FULL, new_tags.range == FULL
    if old_layout.depth == new_layout.depth and full[0] == full[1]:
        return plane
    if role == "alpha":
        return plane * np.float32(new_layout.top / old_layout.top)
    black, luma, chroma = _scales(old_tags, old_layout.top)
    new_black, new_luma, new_chroma = _scales(new_tags, new_layout.top)
    if role == "luma":
        return (plane - np.float32(black)) * np.float32(new_luma / luma) + np.float32(new_black)
    middle, new_middle = (old_layout.top + 1) / 2, (new_layout.top + 1) / 2
    return (plane - np.float32(middle)) * np.float32(new_chroma / chroma) + np.float32(new_middle)


def _weights(colour: Colour, height: int) -> tuple[float, float]:
    usual = _WEIGHTS[1] if height > _HD else _WEIGHTS[6]
    return _WEIGHTS.get(colour.matrix, usual)


def _scales(colour: Colour, top: int) -> tuple[float, float, float]:
    """Black, the span of luma and the span of chroma, in code values."""
    if colour.range == FULL:
        return 0.0, float(top), float(top)
    unit = (top + 1) / 256
    return 16 * unit, 219 * unit, 224 * unit


def _chroma_site(frame: Any) -> str:
    """The place of chroma by a frame's tag; PyAV tells it only through a filter's report.

    While PyAV listens to FFmpeg's log, a decoder's thread that has something to tell waits for the
    GIL. A decoder that is closed holds the GIL and waits for its threads, so neither would ever go
    on (github.com/PyAV-Org/PyAV/issues/751): the frame must come from a decoder without threads.
    """
    av = pyav()
    with _LISTENING:
        level = av.logging.get_level()
        av.logging.set_level(av.logging.INFO)
        try:
            with av.logging.Capture(local=True) as lines:
                _show(frame)
        except (av.error.FFmpegError, ValueError, TypeError):
            return "unspecified"  # a format that no filter takes
        finally:
            av.logging.set_level(level)
    found = re.search(r" cl:(\w+)", "".join(line for _, _, line in lines))
    return found[1] if found and found[1] in _SITES else "unspecified"


def _show(frame: Any) -> None:
    """Let FFmpeg write all that it knows of a frame on its log."""
    graph = pyav().filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    show, sink = graph.add("showinfo", "checksum=0"), graph.add("buffersink")
    source.link_to(show)
    show.link_to(sink)
    graph.configure()
    graph.push(frame)
    graph.pull()

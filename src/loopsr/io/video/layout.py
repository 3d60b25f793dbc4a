"""How the samples of a frame lie in memory, by FFmpeg's name of the pixel format.

Frames are handled as separate planes of uint8 or little-endian uint16. Other formats (NV12, packed
RGB, palettes) are first copied into the planar one that loses nothing.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.io.video.pyav import pyav

_DEPTHS = ("", "9le", "10le", "12le", "14le", "16le")
_YUV = ("yuv420p", "yuv422p", "yuv444p", "yuva420p", "yuva422p", "yuva444p")
_MISSING = ("yuva420p12le", "yuva420p14le", "yuva422p14le", "yuva444p14le", "gbrap9le")
# What frames may lie in while they are worked on.
PLANAR = (
    *(
        name + depth
        for name in (*_YUV, "gray", "gbrp", "gbrap")
        for depth in _DEPTHS
        if name + depth not in _MISSING
    ),
    *("yuv440p", "yuv411p", "yuv410p"),
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A pixel format: ``kind`` is yuv, rgb or grey, ``depth`` in bits a sample.

    ``sub`` says how many pixels across and down share one chroma sample: (2, 2) is 4:2:0.
    """

    name: str
    kind: str
    depth: int
    alpha: bool
    sub: tuple[int, int]
    full_range: bool = False  # the old yuvj formats say so by their name

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the planes."""
        return np.dtype(np.uint8 if self.depth <= 8 else np.uint16)

    @property
    def top(self) -> int:
        """The largest sample."""
        return int(2**self.depth - 1)


@functools.cache
def layout_of(name: str) -> Layout:
    """The layout of a pixel format, planar or not."""
    form = pyav().VideoFormat(name, 64, 64)
    parts = form.components
    rgb = form.is_rgb or form.has_palette
    yuv = not rgb and sum(not part.is_alpha for part in parts) == 3
    sub = (64 // parts[1].width, 64 // parts[1].height) if yuv else (1, 1)
    return Layout(
        name=name,
        kind="rgb" if rgb else "yuv" if yuv else "grey",
        depth=max(part.bits for part in parts),
        alpha=any(part.is_alpha for part in parts),
        sub=sub,
        full_range=name.startswith("yuvj"),
    )


@functools.cache
def working_layout(name: str) -> Layout:
    """The planar layout in which frames of a pixel format are worked on, without loss."""
    if name in PLANAR or name.startswith("yuvj"):
        return layout_of(name)
    # BGR0 and its like have four bytes and no alpha; the table of FFmpeg knows.
    alpha = any(part.is_alpha for part in pyav().VideoFormat(name, 64, 64).components)
    best, _ = pyav().codec.codec.find_best_pix_fmt_of_list(PLANAR, name, alpha)
    return layout_of(best.name)


def plane_roles(layout: Layout) -> list[str]:
    """What the planes of ``read_planes`` are: luma, chroma, rgb or alpha."""
    main = {"yuv": ["luma", "chroma", "chroma"], "rgb": ["rgb"], "grey": ["luma"]}[layout.kind]
    return main + ["alpha"] * layout.alpha


def plane_shapes(layout: Layout, width: int, height: int) -> list[tuple[int, ...]]:
    """Shapes of the arrays that ``read_planes`` gives: (h, w), and (h, w, 3) for RGB."""
    main = (height, width, 3) if layout.kind == "rgb" else (height, width)
    shapes: list[tuple[int, ...]] = [main]
    if layout.kind == "yuv":
        shapes += [(-(-height // layout.sub[1]), -(-width // layout.sub[0]))] * 2
    return shapes + [(height, width)] * layout.alpha


def read_planes(frame: Any, layout: Layout) -> list[NDArray[Any]]:
    """The samples of a decoded frame: Y, U, V or RGB (h, w, 3) or grey, then alpha if any.

    ``layout`` is that of ``working_layout``; a frame in another one is converted.
    """
    if layout.name != frame.format.name:
        frame = frame.reformat(format=layout.name)
    return [
        np.stack([_view(frame, index) for index in (2, 0, 1)], axis=2)
        if layout.kind == "rgb" and number == 0
        else _view(frame, number if layout.kind != "rgb" else 3)
        for number in range(len(plane_shapes(layout, 2, 2)))
    ]


def make_frame(planes: list[NDArray[Any]], layout: Layout) -> Any:
    """A frame of FFmpeg's with these samples; see ``read_planes`` for their order."""
    height, width = planes[0].shape[:2]
    frame = pyav().VideoFrame(width, height, layout.name)
    if layout.name in ("bgr0", "bgra"):
        packed = _view(frame, 0, channels=4)
        packed[..., :3] = planes[0][..., ::-1]
        packed[..., 3] = planes[1] if layout.alpha else 255
        return frame
    if layout.kind == "rgb":
        for index, channel in enumerate((1, 2, 0)):
            _view(frame, index)[:] = planes[0][..., channel]
        for index, plane in enumerate(planes[1:]):
            _view(frame, 3 + index)[:] = plane
        return frame
    for index, plane in enumerate(planes):
        _view(frame, index)[:] = plane
    return frame


def _view(frame: Any, index: int, channels: int = 1) -> NDArray[Any]:
    """A plane of a frame as an array (h, w [, channels]), without a copy."""
    plane = frame.planes[index]
    dtype = layout_of(frame.format.name).dtype
    rows = np.frombuffer(plane, dtype).reshape(plane.height, plane.line_size // dtype.itemsize)
    cut = rows[:, : plane.width * channels]
    return cut if channels == 1 else cut.reshape(plane.height, plane.width, channels)

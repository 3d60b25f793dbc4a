"""One frame of a video, upscaled, as a PNG that stands upright."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.apps.video.plan import wishes
from loopsr.engine.frames import FrameFormat, FrameUpscaler
from loopsr.engine.passes import Progress
from loopsr.engine.upscaler import Upscaler
from loopsr.errors import UsageError, VideoReadError
from loopsr.io.traits import Traits
from loopsr.io.video.clip import Clip, open_clip
from loopsr.io.video.colour import rgb_from_yuv
from loopsr.io.video.layout import Layout, layout_of, read_planes
from loopsr.io.writer import write_picture


@dataclass(frozen=True, kw_only=True)
class PreviewResult:
    """What was shown; sizes in pixels, ``at`` the frame's own time in seconds."""

    source: str
    target: str
    source_width: int
    source_height: int
    width: int
    height: int
    frames: int
    at: float
    model: str
    format: str
    seconds: float


def preview(
    source: str | Path,
    target: str | Path,
    *,
    at: float,
    upscaler: Upscaler | None = None,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    long_edge: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> PreviewResult:
    """Write the frame on show at ``at`` seconds as a PNG, turned as a player would.

    The size is asked for as in ``job.run``. 16 bits are written where the video has more than 8.
    The numbers are those of the video's own primaries and tone curve: HDR looks pale. Raises as
    ``job.run`` does.
    """
    begun = time.monotonic()
    if at < 0:
        raise UsageError(f"a preview at {at:g} s was asked for; pass --preview 0 or more")
    clip = open_clip(source)
    layout = _shown_layout(clip.layout)
    frames = FrameUpscaler(
        upscaler or Upscaler(),
        FrameFormat(layout=clip.layout, colour=clip.colour),
        FrameFormat(layout=layout, colour=clip.colour),
        size=(clip.width, clip.height),
        **wishes(scale=scale, width=width, height=height, long_edge=long_edge),
    )
    pts, planes = _planes_at(clip, at)
    upright = _turned(_rgb(frames(planes, progress), layout, clip), clip.matrix)
    rows, columns = upright.shape[:2]
    write_picture(
        target,
        [[upright]],
        width=columns,
        height=rows,
        traits=Traits(channels=3, depth=8 if upright.dtype == np.uint8 else 16),
        format="png",
        overwrite=overwrite,
        source=source,
    )
    return PreviewResult(
        source=str(source),
        target=str(target),
        source_width=clip.width,
        source_height=clip.height,
        width=columns,
        height=rows,
        frames=1,
        at=round(float(pts * clip.time_base - clip.origin), 6),
        model=" + ".join(frames.models),
        format="png",
        seconds=round(time.monotonic() - begun, 3),
    )


def _planes_at(clip: Clip, at: float) -> tuple[int, list[NDArray[Any]]]:
    """The frame that is on show at a moment: the last that began before it."""
    shown = None
    # A frame may last long; ten seconds before are decoded to find it.
    for start in (max(0.0, at - 10), 0.0):
        for moment in clip.frames(start):
            if shown is not None and float(moment.pts * clip.time_base - clip.origin) > at:
                break
            shown = moment
        if shown is not None:
            return shown.pts, read_planes(shown.frame, clip.layout)
    raise VideoReadError(f"{clip.path.name}: there is no frame at {at:g} s")


def _shown_layout(source: Layout) -> Layout:
    if source.kind == "rgb":
        return layout_of("gbrp" if source.depth <= 8 else f"gbrp{source.depth}le")
    return layout_of("yuv444p" if source.depth <= 8 else f"yuv444p{source.depth}le")


def _rgb(planes: list[NDArray[Any]], layout: Layout, clip: Clip) -> NDArray[Any]:
    dtype, top = (np.uint8, 255) if layout.depth <= 8 else (np.uint16, 65535)
    if layout.kind == "rgb":
        rgb = planes[0].astype(np.float32) / np.float32(layout.top)
    else:
        floats = [plane.astype(np.float32) for plane in planes]
        rgb = rgb_from_yuv(floats, clip.colour, layout.top, clip.height)
    whole: NDArray[Any] = np.floor(rgb * np.float32(top) + np.float32(0.5))
    return whole.astype(dtype)


def _turned(rgb: NDArray[Any], matrix: tuple[int, ...] | None) -> NDArray[Any]:
    """Turn and mirror as FFmpeg's display matrix says: x' = a x + c y, y' = b x + d y."""
    if matrix is None:
        return rgb
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    if abs(a) < abs(c):  # rows become columns
        rgb, a, d = rgb.swapaxes(0, 1), c, b
    rgb = rgb[:, ::-1] if a < 0 else rgb
    return np.ascontiguousarray(rgb[::-1] if d < 0 else rgb)

"""What a picture may claim in its header before any memory is given to it."""

from __future__ import annotations

from dataclasses import dataclass

from loopsr.errors import ImageReadError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds that are checked from the header alone, before any pixel is decoded.

    `max_pixels` counts all frames together. `max_whole_pixels` is for pictures that their decoder
    has to hold in memory as a whole (WebP, AVIF, progressive JPEG, interlaced PNG): there a few
    bytes of header can ask for gigabytes. `max_bytes` bounds the file, `max_metadata` each block.
    """

    max_pixels: int = 1_000_000_000
    max_whole_pixels: int = 300_000_000
    max_side: int = 1_000_000
    max_frames: int = 10_000
    max_metadata: int = 64 * 1024 * 1024
    max_bytes: int = 16 * 1024**3


def check_size(
    limits: Limits, *, name: str, width: int, height: int, frames: int, whole: bool
) -> None:
    """Raise ImageReadError when a header asks for more than `limits` allow."""
    advice = "if you trust the file, raise it with Limits(...)"
    if width < 1 or height < 1 or frames < 1:
        raise ImageReadError(
            f"{name}: the header says {width} x {height} pixels; a picture has at least 1 x 1; "
            "export it again"
        )
    if max(width, height) > limits.max_side:
        raise ImageReadError(
            f"{name}: {width} x {height} pixels, the longest side allowed is {limits.max_side} "
            f"(max_side); {advice}"
        )
    if frames > limits.max_frames:
        raise ImageReadError(
            f"{name}: {frames} frames, at most {limits.max_frames} are allowed (max_frames); "
            f"{advice}"
        )
    bound, field = limits.max_pixels, "max_pixels"
    if whole and limits.max_whole_pixels < bound:
        bound, field = limits.max_whole_pixels, "max_whole_pixels"
        if frames > 1:  # an animation is decoded one frame at a time
            bound, field = limits.max_pixels, "max_pixels"
    if width * height * frames > bound:
        raise ImageReadError(
            f"{name}: {width} x {height} x {frames} frames is {width * height * frames} pixels, "
            f"at most {bound} are allowed ({field}); {advice}"
        )

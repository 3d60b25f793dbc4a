"""From the size that the last network gives down to the size that was asked for, in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.io.libvips import vips


def reduce_pixels(
    pixels: NDArray[Any], size: tuple[int, int], *, alpha: bool, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Reduce (h, w, c) to ``size`` (width, height) with libvips' antialiased Lanczos, as ``dtype``.

    ``pixels`` are uint8, uint16 or floats in [0, 1]; with ``alpha`` the last channel weighs the
    others, so that what is invisible leaves no fringe.
    """
    most = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    height, width, channels = pixels.shape
    source = pixels.astype(np.float32) if pixels.dtype.kind == "f" else pixels
    source = np.ascontiguousarray(source)
    kind = {"f": "float", "u": "uchar" if pixels.dtype == np.uint8 else "ushort"}[pixels.dtype.kind]
    image = vips().Image.new_from_memory(source.data, width, height, channels, kind).cast("float")
    if alpha:
        image = image.premultiply(max_alpha=most)
    image = image.resize(size[0] / width, vscale=size[1] / height, kernel="lanczos3")
    if alpha:
        image = image.unpremultiply(max_alpha=most)
    reduced = np.frombuffer(image.write_to_memory(), np.float32)
    reduced = reduced.reshape(image.height, image.width, channels)[: size[1], : size[0]]
    levels: NDArray[Any] = np.clip(reduced / np.float32(most), 0, 1)
    if dtype.kind == "f":
        return levels.astype(dtype)
    rounded: NDArray[Any] = np.floor(levels * np.iinfo(dtype).max + 0.5).astype(dtype)
    return rounded

"""From the size that the last network gives down to the size that was asked for, in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.io.finish import reduced
from loopsr.io.libvips import vips


def reduce_pixels(
    pixels: NDArray[np.uint16], size: tuple[int, int], *, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Reduce (h, w, c) of uint16 to ``size`` (width, height), as files are; alpha weighs colour.

    Two and four channels end in alpha. ``dtype`` is uint8, uint16 or a float, then in [0, 1].
    """
    height, width, channels = pixels.shape
    image = vips().Image.new_from_memory(pixels.data, width, height, channels, "ushort")
    small = reduced(image, *size)
    flat = np.frombuffer(small.write_to_memory(), np.uint16)
    levels: NDArray[np.uint16] = flat.reshape(size[1], size[0], channels)
    if dtype == np.uint16:
        return levels
    if dtype == np.uint8:
        return np.floor(levels / 257 + 0.5).astype(np.uint8)
    return (levels / 65535).astype(dtype)

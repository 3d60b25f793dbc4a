"""What JPEG does to a picture: through the real codec and back, in memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loopsr.errors import ImageError
from loopsr.io.libvips import first_line, vips

Pixels = NDArray[np.uint8]


def recompress(image: Pixels, *, quality: int, subsample: bool = True) -> Pixels:
    """Encode and decode an (h, w, 3) uint8 picture by libjpeg.

    ``quality`` is 1 to 100; ``subsample`` halves the colour both ways (4:2:0), as most programs do.
    Raises ``ImageError``.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ImageError(
            f"expected a uint8 picture of shape (h, w, 3), got {image.dtype} {image.shape}"
        )
    if not 1 <= quality <= 100:
        raise ImageError(f"JPEG quality is {quality}, expected 1 to 100")
    pyvips = vips()
    try:
        source = pyvips.Image.new_from_array(np.ascontiguousarray(image))
        mode = "on" if subsample else "off"
        data = source.jpegsave_buffer(Q=quality, subsample_mode=mode, keep="none")
        return np.asarray(pyvips.Image.new_from_buffer(data, "").numpy(), np.uint8)
    except pyvips.Error as error:
        raise ImageError(f"JPEG failed on {image.shape} pixels: {first_line(error)}") from error

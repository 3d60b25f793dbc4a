"""Transparency: colour bled under transparent pixels, and an alpha that never varies found.

A transparent pixel usually hides black or white. A network, or any kernel that mixes neighbours,
would draw that into the edge as a fringe; so transparent pixels get the colour that lies nearest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.io.libvips import vips

RADIUS = 32
# A narrow kernel gives the colour at an edge, a wide one reaches far; the narrow one wins wherever
# it sees anything, and the change between the two is smooth.
_KERNELS = ((2.0, 1.0), (10.0, 1e-3))  # sigma, weight


def bleed_rows(
    bands: Iterable[NDArray[Any]], *, band: int, radius: int = RADIUS
) -> Iterator[NDArray[Any]]:
    """Give each wholly transparent pixel a weighted mean colour of its neighbourhood.

    Bands (h, w, c + 1) with alpha last, uint8 or uint16, come and go top to bottom; alpha and every
    pixel that is seen at all stay as they are. Streaming: no more than `band + 2 * radius` rows are
    held, and the result does not depend on `band`. Farther than `radius` from any colour a pixel
    keeps what it had; it is not seen there.
    """
    window: NDArray[Any] | None = None
    first = done = end = 0  # rows: start of the window, emitted so far, read so far
    for piece in bands:
        window = piece if window is None else np.concatenate([window, piece])
        end += piece.shape[0]
        while end - radius - done >= band:
            yield _bled(window, done - first, done - first + band, radius)
            done += band
            keep = max(done - radius, first)
            window, first = window[keep - first :], keep
    if window is None:
        return
    while done < end:
        rows = min(band, end - done)
        yield _bled(window, done - first, done - first + rows, radius)
        done += rows


def constant_alpha(bands: Iterable[NDArray[Any]]) -> float | None:
    """The alpha, 0..1, that all pixels share; None when it varies. Stops at the first other one."""
    found: int | None = None
    top = 255
    for piece in bands:
        alpha = piece[..., -1]
        top = int(np.iinfo(alpha.dtype).max)
        least, most = int(alpha.min()), int(alpha.max())
        found = least if found is None else found
        if least != found or most != found:
            return None
    return None if found is None else found / top


def _bled(window: NDArray[Any], start: int, stop: int, radius: int) -> NDArray[Any]:
    """Rows start..stop of the window, bled; the window holds the rows around them."""
    strip = window[start:stop]
    hidden = strip[..., -1] == 0
    if not hidden.any():
        return strip
    low, high = max(start - radius, 0), min(stop + radius, window.shape[0])
    near = window[low:high]
    if hidden.all() and not near[..., -1].any():
        return strip
    colour, weight = _spread(near, radius)
    colour, weight = colour[start - low : stop - low], weight[start - low : stop - low]
    reached = hidden & (weight[..., 0] > 0)
    bled = strip.copy()
    mean = np.rint(colour[reached] / weight[reached])
    bled[..., :-1][reached] = np.clip(mean, 0, np.iinfo(strip.dtype).max).astype(strip.dtype)
    return bled


def _spread(near: NDArray[Any], radius: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colour times alpha, and alpha, each blurred by the two kernels together; float32."""
    pixels = near.astype(np.float32)
    weight = pixels[..., -1:] / np.float32(np.iinfo(near.dtype).max)
    weighted = np.concatenate([pixels[..., :-1] * weight, weight], axis=2)
    height, width, bands = weighted.shape
    image = vips().Image.new_from_memory(weighted.tobytes(), width, height, bands, "float")
    total = None
    for sigma, share in _KERNELS:
        blurred = image.convsep(_mask(sigma, radius), precision="float") * share
        total = blurred if total is None else total + blurred
    assert total is not None
    flat = np.frombuffer(total.write_to_memory(), np.float32).reshape(height, width, bands)
    return flat[..., :-1], flat[..., -1:]


def _mask(sigma: float, radius: int) -> Any:
    reach = min(radius, int(4 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return vips().Image.new_from_list([(weights / weights.sum()).tolist()])

"""The flat guard: what is exactly flat in the input comes out exactly flat, in exactly its colour.

A network answers a flat sky with 0.9996 of its white, and with a dark rim along the picture's
border, where its convolutions see zeros. No sensible upscaling does either, so pixels whose
neighbourhood is constant skip the network. Costs well under 1 % of a network's time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RADIUS = 2  # the support of bicubic: it would give such pixels their own colour too


def flat_mask(pixels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where the 5x5 neighbourhood in (h, w, 3) is constant in all channels: (h, w).

    Neighbours beyond the array are left out, so an array cut from a picture needs ``RADIUS`` more
    pixels on each side than are judged.
    """
    # A box is constant where all its horizontal neighbours are equal and so are the vertical ones.
    across = _same(pixels[:, :-1], pixels[:, 1:])
    down = _same(pixels[:-1], pixels[1:])
    edges = np.zeros(pixels.shape[:2], dtype=np.bool_)  # a step somewhere in the row piece of 5
    for shift in range(-RADIUS, RADIUS):
        _or_shifted(edges, ~across, shift, axis=1)
    mask = np.zeros_like(edges)
    for shift in range(-RADIUS, RADIUS + 1):
        _or_shifted(mask, edges, shift, axis=0)
    for shift in range(-RADIUS, RADIUS):
        _or_shifted(mask, ~down, shift, axis=0)
    result: NDArray[np.bool_] = ~mask
    return result


def fill_flat(
    output: NDArray[np.float32], pixels: NDArray[np.float32], mask: NDArray[np.bool_], scale: int
) -> None:
    """Overwrite ``output`` (sh, sw, 3) with the colours of ``pixels`` (h, w, 3) where ``mask``."""
    height, width, channels = pixels.shape
    blocks = output.reshape(height, scale, width, scale, channels)
    rows, columns = np.nonzero(mask)  # mostly few
    blocks[rows, :, columns] = pixels[rows, columns][:, None, None]


def _same(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.bool_]:
    equal = a == b
    result: NDArray[np.bool_] = equal[..., 0] & equal[..., 1] & equal[..., 2]
    return result


def _or_shifted(
    target: NDArray[np.bool_], source: NDArray[np.bool_], shift: int, *, axis: int
) -> None:
    """``target[i] |= source[i + shift]`` along an axis, where both exist."""
    length = target.shape[axis]
    first = max(0, -shift)
    last = min(length, source.shape[axis] - shift)
    if first >= last:
        return
    if axis == 0:
        target[first:last] |= source[first + shift : last + shift]
    else:
        target[:, first:last] |= source[:, first + shift : last + shift]

"""Transparency: colour bled under transparent pixels, and an alpha that never varies found.

A transparent pixel usually hides black or white. A network, or any kernel that mixes neighbours,
would draw that into the edge as a fringe; so transparent pixels get the colour that lies nearest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

REACH = 32  # pixels: colour at least this near, in each direction, is always found
_LEVELS = 6
_BLOCK = 1 << _LEVELS  # pixels; blocks lie on a fixed grid, so bands do not change the result
# A coarser level counts this much of a finer one: it decides only where the finer one sees nothing.
_COARSER = np.float32(1e-2)


def bleed_rows(bands: Iterable[NDArray[Any]], *, band: int) -> Iterator[NDArray[Any]]:
    """Give each wholly transparent pixel a weighted mean colour of its neighbourhood.

    Bands (h, w, c + 1) with alpha last, uint8 or uint16, come and go top to bottom; alpha and every
    pixel that is seen at all stay as they are. Streaming: four blocks of 64 rows are held, and the
    result does not depend on `band`. Where no colour is near (see REACH; farther than 128 pixels
    there is none in any case) a pixel keeps what it had. Method: push-pull, a pyramid of weighted
    means (Gortler et al., "The Lumigraph", SIGGRAPH 1996), interpolated linearly.
    """
    above: NDArray[Any] | None = None
    middle: NDArray[Any] | None = None
    for below in _regrouped(bands, _BLOCK):
        if middle is not None:
            yield from _sliced(_bled(above, middle, below), band)
        above, middle = middle, below
    if middle is not None:
        yield from _sliced(_bled(above, middle, None), band)


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


def _regrouped(bands: Iterable[NDArray[Any]], rows: int) -> Iterator[NDArray[Any]]:
    """The same rows in bands of exactly `rows`, only the last one shorter."""
    held: list[NDArray[Any]] = []
    count = 0
    for piece in bands:
        held.append(piece)
        count += piece.shape[0]
        if count < rows:
            continue
        joined = np.concatenate(held)
        whole = count - count % rows
        for start in range(0, whole, rows):
            yield joined[start : start + rows]
        held, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(held)


def _sliced(block: NDArray[Any], band: int) -> Iterator[NDArray[Any]]:
    for start in range(0, block.shape[0], band):
        yield block[start : start + band]


def _bled(
    above: NDArray[Any] | None, middle: NDArray[Any], below: NDArray[Any] | None
) -> NDArray[Any]:
    """The middle block, bled; the blocks around it lend their colours."""
    hidden = middle[..., -1] == 0
    columns = np.flatnonzero(hidden.any(axis=0))
    if columns.size == 0:
        return middle
    # Only the blocks across that hide something, and one more on either side.
    left = max(int(columns[0]) // _BLOCK - 1, 0) * _BLOCK
    right = min((int(columns[-1]) // _BLOCK + 2) * _BLOCK, middle.shape[1])
    across = -(-(right - left) // _BLOCK) * _BLOCK
    near = np.zeros((3 * _BLOCK, across, middle.shape[2]), np.float32)
    for index, block in enumerate((above, middle, below)):
        if block is not None:
            top = index * _BLOCK
            near[top : top + block.shape[0], : right - left] = block[:, left:right]
    near[..., -1] /= np.iinfo(middle.dtype).max
    near[..., :-1] *= near[..., -1:]
    if not near[..., -1].any():
        return middle
    spread = _pull(near, _LEVELS)[_BLOCK : _BLOCK + middle.shape[0], : right - left]
    found = hidden[:, left:right] & (spread[..., -1] > 0)
    mean = np.rint(spread[found][:, :-1] / spread[found][:, -1:])
    bled = middle.copy()
    top_level = np.iinfo(middle.dtype).max
    bled[:, left:right, :-1][found] = np.clip(mean, 0, top_level).astype(middle.dtype)
    return bled


def _pull(fine: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    """Colour times weight, and weight last, with what coarser levels know added faintly."""
    if levels == 0:
        return fine
    height, width, bands = fine.shape
    pairs = fine.reshape(height // 2, 2, width // 2, 2, bands)
    coarse: NDArray[np.float32] = pairs.mean(axis=(1, 3), dtype=np.float32)
    wide = _pull(coarse, levels - 1)
    return fine + _COARSER * _twice(_twice(wide, 0), 1)


def _twice(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Twice as long along an axis, interpolated linearly between pixel centres."""
    moved = np.moveaxis(values, axis, 0)
    before = np.concatenate([moved[:1], moved[:-1]])
    after = np.concatenate([moved[1:], moved[-1:]])
    near = np.float32(0.75) * moved
    pair: NDArray[np.float32] = np.stack(
        [near + np.float32(0.25) * before, near + np.float32(0.25) * after], axis=1
    )
    longer: NDArray[np.float32] = pair.reshape(-1, *moved.shape[1:])
    return np.moveaxis(longer, 0, axis)

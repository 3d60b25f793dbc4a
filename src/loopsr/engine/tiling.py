"""Exact tiling over a stream of rows: any tile size gives the untiled result, in bounded memory.

A tile carries ``halo`` more pixels on each side, as many as the network can see, and only its core
is kept. At the picture's own border there is nothing to add: the network pads with zeros there, as
it does for the untiled picture. Only the rows that the next tiles need are held.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from loopsr.card import ModelCard
from loopsr.engine.backends import Backend
from loopsr.engine.flat import RADIUS, fill_flat, flat_mask
from loopsr.engine.reuse import Box, TileMemory
from loopsr.engine.runners import Runner, Steps, Whole
from loopsr.errors import BackendError, ImageReadError

Array = NDArray[np.float32]
# Told how many input pixels were done since the last call; raises to stop.
Report = Callable[[int], None]
# Told the place of a core and the steps that it took.
Watch = Callable[[Box, Steps], None]
CACHED_ROWS = 16  # of a band: so few at a time stay in the cache between two sums


def spans(length: int, tile: int, unit: int = 1) -> list[tuple[int, int]]:
    """Cut ``length`` into the fewest pieces of at most ``tile``, all nearly equally long.

    Cuts lie at multiples of ``unit``, so pieces may be longer by less than that.
    """
    units = -(-length // unit)
    count = min(units, -(-length // tile))
    edges = [unit * (units * i // count) for i in range(count)]
    return list(itertools.pairwise([*edges, length]))


def longest_span(length: int, tile: int, unit: int = 1) -> int:
    """The length of the longest piece that ``spans`` gives, or a little more."""
    units = -(-length // unit)
    count = min(units, -(-length // tile))
    return min(length, unit * -(-units // count))


def upscale_rows(
    backend: Backend | Runner,
    card: ModelCard,
    rows: Iterator[Array],
    *,
    width: int,
    height: int,
    tile: int | tuple[int, int],
    report: Report | None = None,
    memory: TileMemory | None = None,
    watch: Watch | None = None,
) -> Iterator[Array]:
    """Upscale a picture that comes in bands of rows, and yield the result in bands.

    ``rows`` are float32 (h, width, 3) in [0, 1], top to bottom, ``height`` rows in all; read
    strictly forward. ``tile`` is the most that a tile's core has, in input pixels: a side, or
    (rows, columns). Yields (scale h, scale width, 3), cut to [0, 1]. A global network
    (``card.halo`` None) sees the whole picture at once. ``memory`` gives and takes the tiles of
    frames that look alike; ``watch`` is told the steps of each tile that was computed. Raises
    ``ImageReadError`` when ``rows`` ends early, ``BackendError`` from the runtime.
    """
    step, scale = card.multiple_of, card.scale
    runner = backend if isinstance(backend, Runner) else Whole(backend, scale=scale)
    window = _Window(_padded(rows, width, height, step), height=height + -height % step)
    # A border tile may grow by a step to start on the network's grid.
    context = max(card.halo or 0, RADIUS) + step
    sides = (tile, tile) if isinstance(tile, int) else tile
    rows_most, columns_most = (height, width) if card.halo is None else sides
    columns = spans(width, columns_most, runner.unit)
    for top, bottom in spans(height, rows_most, runner.unit):
        first, pixels = window.take(top - context, bottom + context)
        band = np.empty((scale * (bottom - top), scale * width, 3), np.float32)
        for left, right in columns:
            box = (top, bottom, left, right)
            place = band[:, scale * left : scale * right]
            steps = _tile(runner, card, pixels, first, box, memory, place)
            if watch is not None and steps is not None:
                watch(box, steps)
            if report is not None:
                report((bottom - top) * (right - left))
        yield band


class _Window:
    """The rolling window of rows: grows downwards on demand, forgets what lies above."""

    def __init__(self, rows: Iterator[Array], *, height: int) -> None:
        self._rows = rows
        self._height = height
        self._held: list[Array] = []
        self._first = 0  # number of the first held row
        self._end = 0  # number after the last held row

    def take(self, top: int, bottom: int) -> tuple[int, Array]:
        """The number of the first row and the rows ``top`` to ``bottom``, cut to the picture."""
        top, bottom = max(0, top), min(self._height, bottom)
        while self._end < bottom:
            band = next(self._rows)
            self._held.append(band)
            self._end += len(band)
        while self._first + len(self._held[0]) <= top:
            self._first += len(self._held.pop(0))
        joined = self._held[0] if len(self._held) == 1 else np.concatenate(self._held)
        # A view; the rows above it are freed with the next concatenation.
        joined = joined[top - self._first :]
        self._held, self._first = [joined], top
        return top, joined[: bottom - top]


def _padded(rows: Iterator[Array], width: int, height: int, step: int) -> Iterator[Array]:
    """The picture with its right and lower edges repeated up to a multiple of ``step``."""
    done = 0
    beside, below = -width % step, -height % step
    while done < height:
        band = next(rows, None)
        if band is None or not len(band):
            raise ImageReadError(
                f"the picture ended after {done} of {height} rows; it is cut off, get it again"
            )
        assert band.shape[1:] == (width, 3), band.shape
        done += len(band)
        lower = below if done == height else 0
        if beside or lower:
            band = np.pad(band, ((0, lower), (0, beside), (0, 0)), mode="edge")
        yield band


def _tile(
    runner: Runner,
    card: ModelCard,
    pixels: Array,
    first: int,
    box: Box,
    memory: TileMemory | None,
    place: Array,
) -> Steps | None:
    """Upscale a core into ``place``, a view of (h, w, 3), or take it from the memory when all that
    it depends on is there again; gives the steps that it took."""
    if memory is None:
        return _compute(runner, card, pixels, first, box, place)
    if card.halo is None:
        seen = pixels
    else:
        y0, y1, x0, x1 = _grown(box, max(card.halo, RADIUS), card.multiple_of)
        seen = pixels[max(0, y0) - first : y1 - first, max(0, x0) : x1]
    output = memory.find(box, seen)
    if output is not None:
        place[:] = output
        return None
    steps = _compute(runner, card, pixels, first, box, place)
    memory.keep(box, seen, place)
    return steps


def _compute(
    runner: Runner, card: ModelCard, pixels: Array, first: int, box: Box, place: Array
) -> Steps:
    """Upscale the core ``box`` of ``pixels``, rows from ``first`` on; gives the steps it took."""
    top, bottom, left, right = box
    core = pixels[top - first : bottom - first, left:right]
    y0, y1, x0, x1 = _grown(box, RADIUS, 1)
    y0, x0 = max(0, y0), max(0, x0)
    mask = flat_mask(pixels[y0 - first : y1 - first, x0:x1])
    mask = mask[top - y0 : bottom - y0, left - x0 : right - x0]
    steps: Steps = 0
    if not mask.all():
        steps = _run(runner, card, pixels, first, box, place)
    if mask.any():
        fill_flat(place, core, mask, card.scale)
    return steps


def _run(
    runner: Runner, card: ModelCard, pixels: Array, first: int, box: Box, place: Array
) -> Steps:
    """Run the network on a core with its halo; ``place`` (h, w, 3) gets the core in [0, 1]."""
    top, bottom, left, right = box
    if card.halo is None:
        y0, y1, x0, x1 = 0, first + len(pixels), 0, pixels.shape[1]
    else:
        y0, y1, x0, x1 = _grown(box, card.halo, card.multiple_of)
    y0, x0 = max(0, y0), max(0, x0)
    cut = pixels[y0 - first : y1 - first, x0:x1]
    window = np.ascontiguousarray(cut.transpose(2, 0, 1)[None])
    output, steps = runner.run_core(window, (top - y0, bottom - y0, left - x0, right - x0))
    # A few rows at a time, which stay in the cache: checked, cut in planes, then mixed.
    for row in range(0, len(place), CACHED_ROWS):
        part = output[:, row : row + CACHED_ROWS]
        if not np.isfinite(part).all():
            raise BackendError(
                f"{card.name} gave values that are no numbers; the weights are damaged, "
                "type: pip install --force-reinstall loopsr"
            )
        for channel, plane in enumerate(np.clip(part, 0, 1)):
            place[row : row + CACHED_ROWS, :, channel] = plane
    return steps


def _grown(box: Box, by: int, step: int) -> Box:
    """The box grown on each side, then out to the network's grid; may stick out of the picture."""
    top, bottom, left, right = box
    y1, x1 = bottom + by, right + by
    return (
        (top - by) // step * step,
        y1 + -y1 % step,
        (left - by) // step * step,
        x1 + -x1 % step,
    )

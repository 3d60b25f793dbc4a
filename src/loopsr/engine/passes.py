"""The chain of networks over a stream of rows: grey, alpha, several passes, progress."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.engine.plan import Stage
from loopsr.engine.reuse import FrameMemory
from loopsr.engine.runners import Box, Core, Runner
from loopsr.engine.tiling import CACHED_ROWS, Array, Watch, upscale_rows
from loopsr.errors import Cancelled

# Told the fraction that is done, 0 to 1; may return False to stop.
Progress = Callable[[float], bool | None]
# Told the number of a pass and the input pixels that it did.
Done = Callable[[int, float], None]
# Gives a context that is held while a network runs.
Turn = Callable[[], AbstractContextManager[object]]


class Meter:
    """Adds up the work of all passes, frames and channels; tells a callback the fraction."""

    def __init__(self, total: float, progress: Progress | None) -> None:
        self._total = total
        self._done = 0.0
        self._progress = progress

    def advance(self, work: float) -> None:
        """Count ``work`` as done. Raises ``Cancelled`` when the callback returns False."""
        self._done += work
        if self._progress is None:
            return
        if self._progress(min(1.0, self._done / self._total)) is False:
            raise Cancelled("stopped by the progress callback; nothing was written")


class InTurn:
    """A runner that runs only while it holds a turn, so that pictures worked on at once share one
    network and its memory."""

    def __init__(self, runner: Runner, turn: Turn) -> None:
        self.unit = runner.unit
        self._runner = runner
        self._turn = turn

    def run_core(self, window: Array, core: Box) -> Core:
        """As the runner's own."""
        with self._turn():
            return self._runner.run_core(window, core)


def to_float(bands: Iterator[NDArray[Any]]) -> Iterator[Array]:
    """Integer bands, uint8 or uint16, as float32 in [0, 1]; floating ones are passed on."""
    for band in bands:
        if np.issubdtype(band.dtype, np.integer):
            yield np.divide(band, np.iinfo(band.dtype).max, dtype=np.float32)
        else:
            yield band.astype(np.float32, copy=False)


def to_integer(band: Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Float32 in [0, 1] as integers of the whole range, rounded half up."""
    most, result = np.float32(np.iinfo(dtype).max), np.empty(band.shape, dtype)
    for row in range(0, len(band), CACHED_ROWS):
        scaled = band[row : row + CACHED_ROWS] * most
        scaled += np.float32(0.5)
        result[row : row + CACHED_ROWS] = scaled
    return result


def run_passes(
    stages: Sequence[tuple[Stage, Runner]],
    bands: Iterator[Array],
    *,
    channels: int,
    alpha: bool,
    meter: Meter,
    memory: FrameMemory | None = None,
    watch: Watch | None = None,
    done: Done | None = None,
) -> Iterator[Array]:
    """Run a chain of networks over float32 bands (h, w, channels [+ 1]) in [0, 1].

    ``channels`` is 1 (grey, seen by the network as three equal ones) or 3; ``alpha`` says that one
    more follows, which is upscaled as a grey picture of its own. ``memory`` is that of a stream of
    frames without alpha. ``watch`` is told the steps of the tiles of the first pass, without those
    of alpha; ``done`` of all tiles, by pass and input pixels. Yields bands with the same channels.
    """
    if not alpha:
        yield from _chain(stages, bands, channels, meter, memory, watch, done)
        return
    assert memory is None, "frames give their alpha as a plane of its own"
    # Both chains cut the same bands, so the copy that waits for the second is one window at most.
    first, second = itertools.tee(bands)
    pixels = (band[..., :channels] for band in first)
    colour = _chain(stages, pixels, channels, meter, watch=watch, done=done)
    alphas = (band[..., channels:] for band in second)
    cover = _chain(stages, alphas, 1, meter, done=done)
    for pair in zip(colour, cover, strict=True):
        yield np.concatenate(pair, axis=2)


def _chain(
    stages: Sequence[tuple[Stage, Runner]],
    bands: Iterator[Array],
    channels: int,
    meter: Meter,
    memory: FrameMemory | None = None,
    watch: Watch | None = None,
    done: Done | None = None,
) -> Iterator[Array]:
    rows = bands if channels == 3 else (np.repeat(band, 3, axis=2) for band in bands)
    for number, (stage, runner) in enumerate(stages):
        rows = upscale_rows(
            runner,
            stage.card,
            rows,
            width=stage.width,
            height=stage.height,
            tile=stage.tile,
            report=_reporter(meter, stage.cost, number, done),
            memory=memory.of_pass(number) if memory else None,
            watch=watch if number == 0 else None,
        )
    # Not by a loop of its own where nothing changes: it would hold a band while the next is made.
    yield from rows if channels == 3 else map(_grey, rows)


def _reporter(meter: Meter, cost: int, number: int, done: Done | None) -> Callable[[int], None]:
    def report(pixels: int) -> None:
        if done is not None:
            done(number, pixels)
        meter.advance(pixels * cost)

    return report


def _grey(band: Array) -> Array:
    """The mean of three channels; where they are equal exactly that value."""
    first = band[..., :1]
    rest = (band[..., 1:2] - first) + (band[..., 2:3] - first)
    return np.add(first, rest / 3, dtype=np.float32)

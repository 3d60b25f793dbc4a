"""Seeded batches of aligned crops, whose state can be saved and restored to the last bit."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.data.sources import Pairs
from loopsr.errors import UsageError

log = logging.getLogger(__name__)
Pixels = NDArray[np.uint8]


def turn(image: Pixels, way: int) -> Pixels:
    """One of the 8 flips and rotations of an (h, w, c) picture, by its number 0 to 7."""
    if way & 1:
        image = image[:, ::-1]
    if way & 2:
        image = image[::-1]
    return image.transpose(1, 0, 2) if way & 4 else image


def detail(crop: Pixels) -> float:
    """Mean step between neighbours of an (h, w, 3) crop's green channel, in levels."""
    green = crop[..., 1].astype(np.int16)
    return float(np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean())


class Sampler:
    """Draws batches: a picture by its area, a place in it, one of 8 turns, alike on both crops."""

    def __init__(
        self, pairs: Pairs, *, batch: int, patch: int, seed: int, choices: int = 1
    ) -> None:
        """Prepare for ``batch`` crops of ``patch`` x ``patch`` input pixels.

        Each is the one with the most detail of ``choices`` that are drawn: skies teach little.
        Pictures smaller than a crop are left out with a warning; ``UsageError`` when none is left.
        """
        keep = [i for i, lr in enumerate(pairs.lr) if min(lr.shape[:2]) >= patch]
        if not keep:
            raise UsageError(
                f"all {len(pairs.lr)} pictures are smaller than a crop of {patch * pairs.scale} "
                f"pixels; pass larger pictures or --set patch={patch // 2}"
            )
        if len(keep) < len(pairs.lr):
            log.warning(
                "%d of %d pictures are smaller than a crop and are not used",
                len(pairs.lr) - len(keep),
                len(pairs.lr),
            )
        self.scale, self.batch, self.patch = pairs.scale, batch, patch
        self._choices = choices
        self._lr = [pairs.lr[i] for i in keep]
        self._hr = [pairs.hr[i] for i in keep]
        area = np.array([lr.shape[0] * lr.shape[1] for lr in self._lr], np.float64)
        self._edges = np.cumsum(area) / area.sum()
        self._rng = np.random.default_rng(seed)

    def draw(self) -> tuple[Pixels, Pixels]:
        """The next batch: (n, p, p, 3) inputs and (n, s*p, s*p, 3) targets, uint8."""
        n, p, s = self.batch, self.patch, self.scale
        lr = np.empty((n, p, p, 3), np.uint8)
        hr = np.empty((n, p * s, p * s, 3), np.uint8)
        for j in range(n):
            places = [self._place() for _ in range(self._choices)]
            i, y, x = max(places, key=self._detail) if len(places) > 1 else places[0]
            way = int(self._rng.integers(8))
            lr[j] = turn(self._lr[i][y : y + p, x : x + p], way)
            hr[j] = turn(self._hr[i][y * s : (y + p) * s, x * s : (x + p) * s], way)
        return lr, hr

    def _place(self) -> tuple[int, int, int]:
        """A picture's number, and the top and left of a crop in it."""
        drawn = int(np.searchsorted(self._edges, self._rng.random(), "right"))
        i = min(drawn, len(self._lr) - 1)
        height, width = self._lr[i].shape[:2]
        y = int(self._rng.integers(height - self.patch + 1))
        x = int(self._rng.integers(width - self.patch + 1))
        return i, y, x

    def _detail(self, place: tuple[int, int, int]) -> float:
        i, y, x = place
        return detail(self._lr[i][y : y + self.patch, x : x + self.patch])

    def state(self) -> dict[str, Any]:
        """JSON-able state after the batches drawn so far."""
        return dict(self._rng.bit_generator.state)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on exactly where ``state`` was taken."""
        self._rng.bit_generator.state = state

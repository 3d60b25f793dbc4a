"""Seeded batches of aligned crops, whose state can be saved and restored to the last bit."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.data.sources import Pairs
from loopsr.errors import UsageError
from loopsr.ops.turn import TURNS, turned

log = logging.getLogger(__name__)
Pixels = NDArray[np.uint8]
Integers = NDArray[np.int64]
# In which order the colours of a crop may stand; the first is as they are.
ORDERS = tuple(itertools.permutations(range(3)))
NEGATIVE = TURNS * len(ORDERS)  # ways from here on: those below, as negatives


def parts(way: Any) -> tuple[Any, Any, Any]:
    """What a way is made of: turn (0 to 7), place in ``ORDERS``, whether it is a negative.

    ``way`` is a number, or an array or tensor of them; so are the parts.
    """
    return way % TURNS, way % NEGATIVE // TURNS, way >= NEGATIVE


def turn(image: Pixels, way: int) -> Pixels:
    """One of the 8 flips and rotations of an (h, w, 3) picture, by its number 0 to 7 (``turned``).

    8 to 47: those again, with the colours in each of the other orders; 48 to 95: all as negatives.
    """
    way, order, negative = parts(way)
    image = turned(image, way)
    if order:
        image = image[..., ORDERS[order]]
    return 255 - image if negative else image


def detail(crop: Pixels) -> float:
    """Mean step between neighbours of an (h, w, 3) crop's green channel, in levels."""
    green = crop[..., 1].astype(np.int16)
    return float(np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean())


class Sampler:
    """Draws batches: a picture by its area, a place in it, one of 8 turns, alike on both crops.

    With ``colours`` the three colours of a crop also stand in a random order, with ``negatives``
    half of the crops are negatives.
    """

    def __init__(
        self,
        pairs: Pairs,
        *,
        batch: int,
        patch: int,
        seed: int,
        choices: int = 1,
        colours: bool = False,
        negatives: bool = False,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        """Prepare for ``batch`` crops of ``patch`` x ``patch`` input pixels.

        Each is the one with the most detail of ``choices`` that are drawn: skies teach little.
        ``part`` (i, n) cuts only the i-th of n equal parts of every batch. Pictures smaller than a
        crop are left out with a warning; ``UsageError`` when none is left, or no equal parts.
        """
        if batch % part[1]:
            raise UsageError(
                f"a batch of {batch} cannot be split evenly among {part[1]} processes; "
                f"pass --set batch={part[1] * max(1, batch // part[1])}"
            )
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
        self.scale, self.batch, self.patch, self.choices = pairs.scale, batch, patch, choices
        self.colours, self.negatives = colours, negatives
        self.lr = [pairs.lr[i] for i in keep]
        self.hr = [pairs.hr[i] for i in keep]
        self._sides = np.array([lr.shape[:2] for lr in self.lr], np.int64)
        area = self._sides.prod(axis=1).astype(np.float64)
        self._edges = np.cumsum(area) / area.sum()
        size = batch // part[1]
        self._own = slice(part[0] * size, (part[0] + 1) * size)
        self._rng = np.random.default_rng(seed)

    def places(self) -> tuple[Integers, Integers]:
        """Where the crops of the next batch may lie, and how they are turned.

        (n, choices, 3) of picture, top and left in input pixels, and (n,) of ways as ``turn`` takes
        them, for the ``n`` crops of the own part. The numbers of the whole batch are drawn, whoever
        cuts it.
        """
        drawn = self._rng.random((self.batch, self.choices, 3))
        # Drawn from as many as are asked for; without colours, negatives are further on than that.
        kinds = NEGATIVE if self.colours else TURNS
        ways = self._rng.integers(kinds * (1 + self.negatives), size=self.batch, dtype=np.int64)
        ways += (ways >= kinds) * (NEGATIVE - kinds)
        picture = np.searchsorted(self._edges, drawn[..., 0], "right")
        picture = np.minimum(picture, len(self.lr) - 1)
        corner = (drawn[..., 1:] * (self._sides[picture] - self.patch + 1)).astype(np.int64)
        places = np.concatenate([picture[..., None].astype(np.int64), corner], axis=-1)
        return places[self._own], ways[self._own]

    def draw(self) -> tuple[Pixels, Pixels]:
        """The next batch: (n, p, p, 3) inputs and (n, s*p, s*p, 3) targets, uint8."""
        places, ways = self.places()
        n, p, s = len(ways), self.patch, self.scale
        lr = np.empty((n, p, p, 3), np.uint8)
        hr = np.empty((n, p * s, p * s, 3), np.uint8)
        for j, (options, way) in enumerate(zip(places.tolist(), ways.tolist(), strict=True)):
            i, y, x = max(options, key=self._detail) if len(options) > 1 else options[0]
            lr[j] = turn(self.lr[i][y : y + p, x : x + p], way)
            hr[j] = turn(self.hr[i][y * s : (y + p) * s, x * s : (x + p) * s], way)
        return lr, hr

    def _detail(self, place: tuple[int, int, int]) -> float:
        i, y, x = place
        return detail(self.lr[i][y : y + self.patch, x : x + self.patch])

    def state(self) -> dict[str, Any]:
        """JSON-able state after the batches drawn so far; the same for every part."""
        return dict(self._rng.bit_generator.state)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on exactly where ``state`` was taken."""
        self._rng.bit_generator.state = state

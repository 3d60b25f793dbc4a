"""Self-ensemble: one network, asked eight times about the same picture.

What a network makes of a picture that is turned or flipped, turned back, is another guess at the
same large picture; the mean of the eight guesses is closer to the truth than any one of them (Lim
et al., EDSR, arXiv 1707.02921, whose results of this kind have a + behind the name; elsewhere it is
called test-time augmentation). It takes eight times as long.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loopsr.engine.backends import Backend
from loopsr.ops.turn import TURNS, turned, turned_back

_AXES = (2, 3)  # of b3hw


class SelfEnsemble:
    """A backend whose output is the mean over the turns and flips of its input; see ``Backend``.

    A turned window sees the same context as before, so tiling stays exact up to float32 rounding.
    """

    def __init__(self, backend: Backend) -> None:
        self.name = backend.name
        self._backend = backend

    def run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """As the backend's own, eight times. Raises ``BackendError``."""
        total = self._backend.run(pixels).copy()  # a runtime may own what it gives
        for way in range(1, TURNS):
            window = np.ascontiguousarray(turned(pixels, way, axes=_AXES))
            total += turned_back(self._backend.run(window), way, axes=_AXES)
        total /= TURNS
        return total

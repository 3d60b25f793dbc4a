"""The eight turns and flips of a picture, by number, and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TURNS = 8


def turned(image: NDArray[Any], way: int, *, axes: tuple[int, int] = (0, 1)) -> NDArray[Any]:
    """A view of the picture in one of its ways, 0 (as it is) to 7; ``axes`` are rows, columns."""
    rows, columns = axes
    if way & 1:
        image = np.flip(image, columns)
    if way & 2:
        image = np.flip(image, rows)
    return image.swapaxes(rows, columns) if way & 4 else image


def turned_back(image: NDArray[Any], way: int, *, axes: tuple[int, int] = (0, 1)) -> NDArray[Any]:
    """What ``turned`` made of a picture, or what was made of that, as a view the right way up."""
    if way & 4:
        image = image.swapaxes(*axes)
    return turned(image, way & 3, axes=axes)

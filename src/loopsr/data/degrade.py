"""Degradations: lists of named steps that turn a sharp picture into the input of a network.

A pipeline is plain data, so that it can be printed, stored in a model card and compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.errors import UnknownNameError
from loopsr.ops.resize import resize

Pixels = NDArray[np.uint8]
Step = tuple[str, dict[str, Any]]


def _bicubic(image: Pixels, scale: int, rng: np.random.Generator) -> Pixels:
    """MATLAB's bicubic, the convention of the field; draws nothing from ``rng``."""
    return resize(image, scale=1 / scale).astype(np.uint8, copy=False)


# name -> (HWC uint8 picture, scale, rng, **parameters) -> HWC uint8 picture
STEPS: dict[str, Callable[..., Pixels]] = {"bicubic": _bicubic}

# What a recipe calls its degradation -> its steps.
PIPELINES: dict[str, tuple[Step, ...]] = {"bicubic": (("bicubic", {}),)}


def pipeline(name: str) -> tuple[Step, ...]:
    """The steps of a named pipeline. Raises ``UnknownNameError``."""
    if name not in PIPELINES:
        raise UnknownNameError("degradation", name, PIPELINES)
    return PIPELINES[name]


def describe(steps: Sequence[Step]) -> str:
    """A pipeline in one line, as a model card shows it: ``blur(sigma=1.2) > bicubic()``."""
    parts = (
        f"{name}({', '.join(f'{k}={v}' for k, v in values.items())})" for name, values in steps
    )
    return " > ".join(parts)


def degrade(
    image: Pixels, *, scale: int, steps: Sequence[Step], rng: np.random.Generator
) -> Pixels:
    """Degrade an (h, w, 3) uint8 picture, both sides multiples of ``scale``, to (h/s, w/s, 3)."""
    for name, parameters in steps:
        if name not in STEPS:
            raise UnknownNameError("degradation step", name, STEPS)
        image = STEPS[name](image, scale, rng, **parameters)
    return image

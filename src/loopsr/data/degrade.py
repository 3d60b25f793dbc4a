"""Degradations: lists of named steps that turn a sharp picture into the input of a network.

A pipeline is plain data, so that it can be printed, stored in a model card and compared. A random
one is a step too: it draws a fixed list of the others, and that is applied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.errors import UnknownNameError
from loopsr.io.jpeg import recompress
from loopsr.ops.blur import blur, gaussian_kernel
from loopsr.ops.noise import gaussian_noise, shot_noise
from loopsr.ops.resize import ALL_KERNELS, resize

Pixels = NDArray[np.uint8]
Step = tuple[str, dict[str, Any]]
Range = Sequence[float]  # from, to


def _bicubic(image: Pixels, scale: int, rng: np.random.Generator) -> Pixels:
    """MATLAB's bicubic, the convention of the field; draws nothing from ``rng``."""
    return resize(image, scale=1 / scale).astype(np.uint8, copy=False)


def _resize(image: Pixels, scale: int, rng: np.random.Generator, *, kernel: str) -> Pixels:
    return resize(image, scale=1 / scale, kernel=kernel).astype(np.uint8, copy=False)


def _blur(image: Pixels, scale: int, rng: np.random.Generator, **shape: float) -> Pixels:
    return blur(image, gaussian_kernel(**shape)).astype(np.uint8, copy=False)


def _noise(
    image: Pixels, scale: int, rng: np.random.Generator, *, sigma: float, grey: bool
) -> Pixels:
    return gaussian_noise(image, sigma=sigma, grey=grey, rng=rng)


def _shot(image: Pixels, scale: int, rng: np.random.Generator, *, peak: float) -> Pixels:
    return shot_noise(image, peak=peak, rng=rng)


def _jpeg(
    image: Pixels, scale: int, rng: np.random.Generator, *, quality: int, subsample: bool
) -> Pixels:
    return recompress(image, quality=quality, subsample=subsample)


def _photo(image: Pixels, scale: int, rng: np.random.Generator, **ranges: Any) -> Pixels:
    steps = draw_photo(scale=scale, rng=rng, **ranges)
    return degrade(image, scale=scale, steps=steps, rng=rng)


# name -> (HWC uint8 picture, scale, rng, **parameters) -> HWC uint8 picture
STEPS: dict[str, Callable[..., Pixels]] = {
    "bicubic": _bicubic,
    "blur": _blur,
    "jpeg": _jpeg,
    "noise": _noise,
    "photo": _photo,
    "resize": _resize,
    "shot": _shot,
}

# Pictures as people have them. Strengths are those seen in the small picture.
_PHOTO = {
    "blur": [0.1, 0.7],
    "noise": [0.5, 8.0],
    "peak": [150.0, 5000.0],
    "quality": [35, 95],
}
# What a recipe calls its degradation -> its steps.
PIPELINES: dict[str, tuple[Step, ...]] = {
    "bicubic": (("bicubic", {}),),
    "photo": (("photo", {"clean": 0.5, **_PHOTO}),),
    # Clean pictures suffer less at x4 than at x2, so fewer of them are enough (docs/log.md).
    "photo_x4": (("photo", {"clean": 0.2, "saved": 0.45, **_PHOTO}),),
}


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


def draw_photo(
    *,
    scale: int,
    rng: np.random.Generator,
    clean: float,
    blur: Range,
    noise: Range,
    peak: Range,
    quality: Sequence[int],
    saved: float = 0.0,
) -> tuple[Step, ...]:
    """Draw the steps of one photograph's fate: blur, noise, resize and JPEG in random order.

    With the chance ``clean`` only bicubic, so that a network stays good at what needs no repair;
    with the chance ``saved`` that and JPEG, which is all that befell most pictures. ``blur`` is in
    pixels of the small picture, ``noise`` in its levels (0..255), ``peak`` in photons of its white;
    before the resize they are made stronger, to come out alike.
    """
    fate = rng.random()
    if fate < clean:
        return (("bicubic", {}),)
    if fate < clean + saved:
        return ("bicubic", {}), _draw_jpeg(rng, quality)
    names = ["blur", "noise", "resize", "jpeg"]
    order = [names[i] for i in rng.permutation(len(names))]
    if rng.random() < 0.5:  # files are mostly made last
        order.sort(key=lambda name: name == "jpeg")
    chances = {"blur": 0.5, "noise": 0.4, "resize": 1.0, "jpeg": 0.75}
    steps: list[Step] = []
    size = scale  # of the picture as it is then, in widths of the small one
    for name in order:
        if rng.random() >= chances[name]:
            continue
        if name == "blur":
            steps.append(_draw_blur(rng, [sigma * size for sigma in blur]))
        elif name == "noise" and rng.random() < 0.5:
            grey = bool(rng.random() < 0.3)
            sigma = round(_log_uniform(rng, noise) * size, 2)
            steps.append(("noise", {"sigma": sigma, "grey": grey}))
        elif name == "noise":
            steps.append(("shot", {"peak": round(_log_uniform(rng, peak) / size**2, 1)}))
        elif name == "resize":
            usual = bool(rng.random() < 0.5)
            kernel = "bicubic" if usual else str(rng.choice(sorted(ALL_KERNELS)))
            steps.append(("resize", {"kernel": kernel}))
            size = 1
        else:
            steps.append(_draw_jpeg(rng, quality))
    return tuple(steps)


def _draw_blur(rng: np.random.Generator, sigma: Range) -> Step:
    """Round or longish with equal chance."""
    ratio = 1.0 if rng.random() < 0.5 else round(float(rng.uniform(0.3, 1.0)), 2)
    angle = 0.0 if ratio == 1.0 else round(float(rng.uniform(0, math.pi)), 2)
    drawn = round(float(rng.uniform(sigma[0], sigma[1])), 2)
    return "blur", {"sigma": max(drawn, 0.05), "ratio": ratio, "angle": angle}


def _draw_jpeg(rng: np.random.Generator, quality: Sequence[int]) -> Step:
    level = int(rng.integers(quality[0], quality[1] + 1))
    return "jpeg", {"quality": level, "subsample": bool(rng.random() < 0.5)}


def _log_uniform(rng: np.random.Generator, between: Range) -> float:
    return math.exp(rng.uniform(math.log(between[0]), math.log(between[1])))

"""Quality of any upscaler on a folder of sharp pictures, as papers measure it. Needs no torch.

The input of a picture is its own MATLAB-exact bicubic reduction; sharp pictures are first cut to a
multiple of the scale.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loopsr.data.sets import pictures_of
from loopsr.data.sources import crop_to_multiple, read_rgb
from loopsr.errors import ImageError, UsageError
from loopsr.metrics.psnr import psnr_rgb, psnr_y, psnr_y_rounded
from loopsr.metrics.ssim import ssim_rgb, ssim_y, ssim_y_unrounded
from loopsr.ops.resize import resize

Pixels = NDArray[np.uint8]
Upscale = Callable[[Pixels], Pixels]
# Takes the upscaled picture, the sharp one, and `border`, the pixels to cut on each side.
Metric = Callable[..., float]
METRICS: dict[str, Metric] = {
    "psnr_y": psnr_y,
    "ssim_y": ssim_y,
    "psnr_rgb": psnr_rgb,
    "ssim_rgb": ssim_rgb,
    "psnr_y_rounded": psnr_y_rounded,
    "ssim_y_unrounded": ssim_y_unrounded,
}
SHOWN = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")  # in a card and on the terminal
_DIGITS = {"psnr": 2, "seco": 3}  # by the first letters; four for all others


@dataclass(frozen=True, kw_only=True)
class Score:
    """One picture: the value of each metric, and ``seconds``, the time to upscale it."""

    picture: str
    values: Mapping[str, float]


def reduce_picture(picture: Pixels, *, name: str, scale: int) -> tuple[Pixels, Pixels]:
    """A sharp picture's bicubic reduction, and itself cut to a multiple of the scale: (lr, hr)."""
    hr = crop_to_multiple(picture, scale)
    if 0 in hr.shape:
        raise ImageError(f"{name} is smaller than {scale} pixels; take it out of the folder")
    return resize(hr, scale=1 / scale).astype(np.uint8, copy=False), hr


def measure(
    output: Pixels,
    hr: Pixels,
    *,
    name: str,
    scale: int,
    metrics: Mapping[str, Metric] = METRICS,
) -> dict[str, float]:
    """The value of each metric, with a border of ``scale`` pixels cut.

    Raises ``ImageError`` for the picture ``name`` when too little is left of it.
    """
    try:
        return {key: metric(output, hr, border=scale) for key, metric in metrics.items()}
    except UsageError as error:
        raise ImageError(f"{name}: {error}") from error


def score_folder(
    upscale: Upscale, folder: Path, *, scale: int, metrics: Mapping[str, Metric] = METRICS
) -> Iterator[Score]:
    """Measure ``upscale``, (h, w, 3) uint8 to (s*h, s*w, 3) uint8, on each picture of a folder."""
    for path in pictures_of(folder):
        lr, hr = reduce_picture(read_rgb(path), name=str(path), scale=scale)
        start = time.perf_counter()
        output = upscale(lr)
        seconds = time.perf_counter() - start
        values = measure(output, hr, name=str(path), scale=scale, metrics=metrics)
        yield Score(picture=path.stem, values=values | {"seconds": seconds})


def mean_score(scores: Sequence[Score]) -> Score:
    """The mean of each column, as the score of a picture called ``mean``."""
    names = scores[0].values
    values = {name: float(np.mean([score.values[name] for score in scores])) for name in names}
    return Score(picture="mean", values=values)


def as_numbers(score: Score) -> dict[str, float]:
    """What a card says of a score, rounded as it is quoted."""
    return {name: round(score.values[name], digits(name)) for name in SHOWN}


def as_text(score: Score, names: Sequence[str]) -> list[str]:
    """Columns of a score as they are printed."""
    return [f"{score.values[name]:.{digits(name)}f}" for name in names]


def as_json(score: Score) -> dict[str, float | None]:
    """All columns, two digits finer than they are quoted; null where JSON has no number."""
    return {
        name: round(value, digits(name) + 2) if math.isfinite(value) else None
        for name, value in score.values.items()
    }


def digits(name: str) -> int:
    """How many digits after the point a column is quoted with."""
    return _DIGITS.get(name[:4], 4)

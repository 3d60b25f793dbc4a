"""Quality of any upscaler on a folder of sharp pictures, as papers measure it. Needs no torch.

The input of a picture is its own MATLAB-exact bicubic reduction; sharp pictures are first cut to a
multiple of the scale.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loopsr.data.sources import crop_to_multiple, find_pictures, read_rgb
from loopsr.errors import UsageError
from loopsr.metrics.psnr import psnr_rgb, psnr_y
from loopsr.metrics.ssim import ssim_rgb, ssim_y
from loopsr.ops.resize import KERNELS, resize

Pixels = NDArray[np.uint8]
Upscale = Callable[[Pixels], Pixels]
COLUMNS = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb", "seconds")


@dataclass(frozen=True, kw_only=True)
class Score:
    """One picture: dB and similarity with a border of ``scale`` cut, seconds to upscale it."""

    picture: str
    psnr_y: float
    ssim_y: float
    psnr_rgb: float
    ssim_rgb: float
    seconds: float


def interpolation(kernel: str, *, scale: int) -> Upscale:
    """``bicubic`` or ``lanczos`` as a model like any other."""
    if kernel not in KERNELS:
        raise UsageError(f"kernel {kernel!r} is unknown; use one of {', '.join(KERNELS)}")
    return lambda lr: resize(lr, scale=scale, kernel=kernel).astype(np.uint8, copy=False)


def pictures_of(folder: Path) -> list[Path]:
    """The sharp pictures of a benchmark set: those in its folder ``HR`` when it has one."""
    return find_pictures([folder / "HR" if (folder / "HR").is_dir() else folder])


def score_folder(upscale: Upscale, folder: Path, *, scale: int) -> Iterator[Score]:
    """Measure ``upscale``, (h, w, 3) uint8 to (s*h, s*w, 3) uint8, on each picture of a folder."""
    for path in pictures_of(folder):
        hr = crop_to_multiple(read_rgb(path), scale)
        if 0 in hr.shape:
            raise UsageError(f"{path} is smaller than {scale} pixels; take it out of the folder")
        lr = resize(hr, scale=1 / scale).astype(np.uint8, copy=False)
        start = time.perf_counter()
        output = upscale(lr)
        seconds = time.perf_counter() - start
        yield Score(
            picture=path.stem,
            psnr_y=psnr_y(output, hr, border=scale),
            ssim_y=ssim_y(output, hr, border=scale),
            psnr_rgb=psnr_rgb(output, hr, border=scale),
            ssim_rgb=ssim_rgb(output, hr, border=scale),
            seconds=seconds,
        )


def mean_score(scores: Sequence[Score]) -> Score:
    """The mean of each column, as the score of a picture called ``mean``."""
    values = {key: float(np.mean([getattr(s, key) for s in scores])) for key in COLUMNS}
    return Score(picture="mean", **values)


def as_numbers(score: Score) -> dict[str, float]:
    """The columns of a score, rounded as they are quoted."""
    values = dataclasses.asdict(score)
    return {key: round(values[key], 2 if key.startswith("psnr") else 4) for key in COLUMNS}

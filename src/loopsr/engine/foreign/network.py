"""A network of another project: what a run tells of it, and the road of a picture through it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.errors import BackendError, LoopsrError, WeightsError
from loopsr.ops.resize import resize
from loopsr.ops.ycbcr import from_ycbcr, to_ycbcr

Pixels = NDArray[np.uint8]
Batch = NDArray[np.float32]
# float32 (b, c, h, w) to (b, c, s h, s w); raises `BackendError`
Run = Callable[[Batch], Batch]

MAX_SCALE = 16
_LEAST_SIDE = 24  # input pixels of the probe: smaller ones trip over reflected borders
_STEPS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(kw_only=True)  # not frozen: `Backend` asks for a name that could be set
class Network:
    """A network of others that behaves like one of ours; satisfies ``Backend``.

    ``channels`` is 3 (RGB) or 1 (luma), ``peak`` the value that it takes for white, 1 or 255,
    ``multiple_of`` what the sides of its input must be a multiple of.
    """

    name: str
    forward: Run
    scale: int
    channels: int
    multiple_of: int = 1
    peak: int = 1

    def run(self, pixels: Batch) -> Batch:
        """Upscale float32 (b, channels, h, w) in [0, 1], any h and w; not cut to [0, 1]."""
        height, width = pixels.shape[2:]
        below, beside = -height % self.multiple_of, -width % self.multiple_of
        if below or beside:
            pixels = np.pad(pixels, ((0, 0), (0, 0), (0, below), (0, beside)), mode="symmetric")
        scaled = np.ascontiguousarray(pixels * np.float32(self.peak))
        output = self.forward(scaled) / np.float32(self.peak)
        output = output[:, :, : height * self.scale, : width * self.scale]
        expected = (len(pixels), self.channels, height * self.scale, width * self.scale)
        if output.shape != expected:
            raise BackendError(
                f"{self.name} gave an output of shape {output.shape} where {expected} was "
                "expected; it does not take pictures of any size, export it again"
            )
        return output


def upscale(network: Network, image: Pixels) -> Pixels:
    """Upscale (h, w, 3) uint8 RGB in one piece; a network for luma gets bicubic colours.

    The output is cut to 0..255 and rounded once. Raises ``BackendError``.
    """
    if network.channels == 3:
        batch = image.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        output = network.run(batch)[0].transpose(1, 2, 0).astype(np.float64) * 255
    else:
        planes = to_ycbcr(image)
        large = resize(planes, scale=network.scale)
        batch = (planes[None, None, ..., 0] / 255).astype(np.float32)
        large[..., 0] = network.run(batch)[0, 0].astype(np.float64) * 255
        output = from_ycbcr(large)
    if not np.isfinite(output).all():
        raise BackendError(f"{network.name} gave values that are no numbers; its file is damaged")
    return to_levels(output)


def to_levels(values: NDArray[np.float64]) -> Pixels:
    """Cut to 0..255 and rounded half up, once."""
    levels: Pixels = np.floor(values.clip(0, 255) + 0.5).astype(np.uint8)
    return levels


def probe(forward: Run, *, name: str, channels: int) -> Network:
    """Find out by runs on small pictures: scale, peak, and the step of the sides.

    Raises ``WeightsError`` for a network that makes no larger picture of a picture.
    """
    reason = ""
    for step in _STEPS:
        x = _picture(channels, step)
        try:
            y = forward(x)
            scale = _scale(x, y)
        except LoopsrError as error:
            # The first complaint tells most: later ones are about sizes that were only tried.
            reason = reason or str(error)
            continue
        peak = 255 if _error(forward(x * 255) / 255, x) < _error(y, x) / 2 else 1
        return Network(
            name=name,
            forward=forward,
            scale=scale,
            channels=channels,
            multiple_of=step,
            peak=peak,
        )
    raise WeightsError(
        f"{name} does not upscale pictures of {channels} channels ({reason}); pass a network "
        "that takes float32 (batch, channels, height, width) of any height and width"
    )


def _picture(channels: int, step: int) -> Batch:
    """Waves in [0, 1] whose sides are odd multiples of ``step``, and no two alike."""
    height = step * (-(-_LEAST_SIDE // step) | 1)
    width = height + 2 * step
    y, x = np.mgrid[0:height, 0:width]
    wave = 0.5 + 0.4 * np.sin(x / 5 + y / 7 + np.arange(channels)[:, None, None])
    batch: Batch = wave[None].astype(np.float32)
    return batch


def _scale(x: Batch, y: Batch) -> int:
    height, width = x.shape[2:]
    scale = y.shape[2] // height if y.ndim == 4 else 0
    if not 1 <= scale <= MAX_SCALE or y.shape != (*x.shape[:2], scale * height, scale * width):
        raise BackendError(f"it makes the shape {y.shape} of the shape {x.shape}")
    return scale


def _error(y: NDArray[Any], x: Batch) -> float:
    """How far an output is from its input, coarsely enlarged."""
    scale = y.shape[2] // x.shape[2]
    enlarged = x.repeat(scale, axis=2).repeat(scale, axis=3)
    return float(np.sqrt(np.mean(np.square(y.astype(np.float64) - enlarged))))

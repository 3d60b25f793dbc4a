"""From rows as the engine gives them to the very pixels that a format stores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.errors import ImageWriteError
from loopsr.io.colour import apply_table, tone_tables
from loopsr.io.formats import Format
from loopsr.io.libvips import vips
from loopsr.io.metadata import attach
from loopsr.io.traits import Traits

_TOPS = {"uchar": 255, "ushort": 65535}


def checked_rows(
    rows: Iterable[NDArray[Any]], *, width: int, height: int, traits: Traits
) -> Iterator[NDArray[Any]]:
    """The rows in the picture's own tone curve; raises when they are not what was promised."""
    tables = tone_tables(traits.metadata.icc) if traits.channels == 3 else None
    seen = 0
    for band in rows:
        fits = band.ndim == 3 and band.shape[1:] == (width, traits.bands)
        if not fits or band.dtype not in (np.uint8, np.uint16):
            raise ImageWriteError(
                f"got rows of {band.dtype} {band.shape}, expected uint8 or uint16 of shape "
                f"(any, {width}, {traits.bands}); this is a fault of the caller"
            )
        seen += band.shape[0]
        yield band if tables is None else apply_table(band, tables.back)
    if seen != height:
        raise ImageWriteError(f"got {seen} rows, expected {height}; this is a fault of the caller")


def stored_image(
    image: Any,
    entry: Format,
    traits: Traits,
    *,
    resize_to: tuple[int, int] | None,
    page_height: int | None,
) -> Any:
    """The libvips image that goes to the encoder: size, alpha, depth and metadata as stored."""
    if resize_to is not None and resize_to != (image.width, image.height):
        image = reduced(image, *resize_to)
    image = _with_alpha(image, entry, traits)
    image = _with_depth(image, min(traits.stored_depth, 16 if entry.bits > 8 else 8))
    return attach(image, traits.metadata, entry, page_height=page_height)


def reduced(image: Any, width: int, height: int) -> Any:
    """Resize by Lanczos 3 to exactly width x height, streaming; alpha weights the colour.

    Grey, grey + alpha, RGB or RGBA, 8 or 16 bit; the type stays. Under pixels that end up wholly
    transparent the plain mean is kept, so that no black creeps in there.
    """
    top = _TOPS[image.format]
    scales = {"vscale": height / image.height, "kernel": "lanczos3", "gap": 0}
    if image.bands in (1, 3):
        # In float: the integer road for 16 bits takes up to 2 levels off a flat colour.
        wide = image if image.format == "uchar" else image.cast("float")
        small = wide.resize(width / image.width, **scales)
        small = small if image.format == "uchar" else small.rint().cast(image.format)
        return _exact(small.copy(interpretation=image.interpretation), width, height)
    colours = image.bands - 1
    colour, alpha = image[:colours].cast("float"), image[colours].cast("float")
    both = (colour * (alpha / top)).bandjoin(colour).bandjoin(alpha)
    small = both.resize(width / image.width, **scales)
    weighted, plain, alpha = small[:colours], small[colours : 2 * colours], small[2 * colours]
    seen = alpha >= 0.5
    mixed = seen.ifthenelse(weighted * (top / seen.ifthenelse(alpha, 1)), plain)
    result = mixed.bandjoin(alpha).rint().cast(image.format)
    return _exact(result.copy(interpretation=image.interpretation), width, height)


def frame_rows(
    frames: Iterable[Iterable[NDArray[Any]]],
    *,
    width: int,
    height: int,
    traits: Traits,
    resize_to: tuple[int, int] | None,
) -> Iterator[NDArray[Any]]:
    """The rows of all frames below one another, each frame reduced on its own."""
    for frame in frames:
        rows = checked_rows(frame, width=width, height=height, traits=traits)
        if resize_to is None or resize_to == (width, height):
            yield from rows
            continue
        whole = np.concatenate(list(rows))
        image = vips().Image.new_from_array(whole)
        small = reduced(image, *resize_to)
        flat = np.frombuffer(small.write_to_memory(), whole.dtype)
        yield flat.reshape(resize_to[1], resize_to[0], whole.shape[2])


def _exact(image: Any, width: int, height: int) -> Any:
    if (image.width, image.height) == (width, height):
        return image
    return image.gravity("north-west", width, height, extend="copy")  # rounding in libvips


def _with_alpha(image: Any, entry: Format, traits: Traits) -> Any:
    top = _TOPS[image.format]
    constant = traits.constant_alpha
    if constant is not None:
        if entry.alpha == "none" and constant >= 1.0:
            return image
        interpretation = image.interpretation
        image = image.bandjoin(round(constant * top)).copy(interpretation=interpretation)
    elif not traits.alpha:
        return image
    if entry.alpha == "none":
        return image.flatten(background=[top] * traits.channels, max_alpha=top)
    return image


def _with_depth(image: Any, depth: int) -> Any:
    grey = image.bands < 3
    if depth == 8:
        if image.format == "ushort":
            image = (image / 257).rint().cast("uchar")
        return image.copy(interpretation="b-w" if grey else "srgb")
    if image.format == "uchar":
        image = (image * 257).cast("ushort")
    return image.copy(interpretation="grey16" if grey else "rgb16")

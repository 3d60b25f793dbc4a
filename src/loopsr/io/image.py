"""Open a picture: header and limits first, pixels later, strictly forward and in little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from loopsr.errors import ImageReadError
from loopsr.io.alpha import bleed_rows, constant_alpha
from loopsr.io.colour import apply_table, tone_tables
from loopsr.io.decode import Decoded, decode
from loopsr.io.limits import Limits
from loopsr.io.source import read_head
from loopsr.io.traits import Metadata, Traits

Rows = Iterator[NDArray[Any]]
_BAND = 64


@final
class Picture:
    """An opened picture: size and traits are known, pixels are read when they are asked for.

    `width` and `height` are those of one frame after its orientation was applied. A picture can be
    read any number of times, from one thread at a time.
    """

    def __init__(
        self,
        raw_rows: Callable[[int, int], Rows],
        *,
        name: str,
        width: int,
        height: int,
        frames: int,
        traits: Traits,
        source_format: str,
    ) -> None:
        self._raw_rows = raw_rows
        self.name = name
        self.width = width
        self.height = height
        self.frames = frames
        self.traits = traits
        self.source_format = source_format

    def rows(self, frame: int = 0, band: int = _BAND) -> Rows:
        """Bands (h <= band, width, channels [+ alpha last]) of a frame, top to bottom.

        uint8 or uint16 as `traits.depth` says; colour is already bled under transparent pixels.
        Raises ImageReadError, also in the middle, when the file turns out to be damaged: then
        nothing that came before is to be used.
        """
        if not 0 <= frame < self.frames:
            raise ImageReadError(f"{self.name}: frame {frame} of {self.frames} does not exist")
        bands = self._raw_rows(frame, band)
        if self.traits.alpha:
            bands = bleed_rows(bands, band=band)
        elif self.traits.constant_alpha is not None:
            bands = (piece[..., :-1] for piece in bands)
        tables = tone_tables(self.traits.metadata.icc) if self.traits.channels == 3 else None
        if tables is not None:
            bands = (apply_table(piece, tables.forward) for piece in bands)
        seen = 0
        for piece in bands:
            seen += piece.shape[0]
            yield np.ascontiguousarray(piece)
        if seen != self.height:  # no decoder may end early without a word
            raise ImageReadError(
                f"{self.name}: {seen} of {self.height} rows could be read; copy the file again"
            )

    def pixels(self, frame: int = 0) -> NDArray[Any]:
        """A whole frame as one array (height, width, channels [+ alpha])."""
        return np.concatenate(list(self.rows(frame)))


def open_picture(source: str | Path | bytes, *, limits: Limits | None = None) -> Picture:
    """Open a file, or a file's bytes: JPEG, PNG, WebP, TIFF, AVIF, GIF, PPM, known by its content.

    Only the header is read, and checked against `limits` before any memory is given to it; where
    there is an alpha channel, pixels are read until it is seen to vary. Raises ImageReadError.
    """
    limits = limits or Limits()
    path_or_bytes = source if isinstance(source, bytes) else Path(source)
    name = "the picture" if isinstance(source, bytes) else path_or_bytes.name  # type: ignore[union-attr]
    kind, head = read_head(path_or_bytes, name=name, limits=limits)
    decoded = decode(path_or_bytes, kind=kind, head=head, name=name, limits=limits)
    return _picture(decoded, name=name, source_format=kind)


def open_pixels(pixels: NDArray[Any]) -> Picture:
    """A picture of an array (h, w) or (h, w, 1..4), uint8 or uint16: grey, grey + alpha, RGB, RGBA.

    Raises ImageReadError for any other shape or type.
    """
    array = np.asarray(pixels)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or not 1 <= array.shape[2] <= 4:
        raise ImageReadError(
            f"got an array of shape {np.shape(pixels)}; expected (h, w) or (h, w, 1 to 4)"
        )
    if array.dtype not in (np.uint8, np.uint16):
        raise ImageReadError(
            f"got an array of {array.dtype}; expected uint8 or uint16: scale it and use .astype()"
        )
    if array.size == 0:
        raise ImageReadError(f"got an empty array of shape {np.shape(pixels)}; expected 1 x 1 up")

    def raw_rows(frame: int, band: int) -> Rows:
        for top in range(0, array.shape[0], band):
            yield array[top : top + band]

    height, width, bands = array.shape
    decoded = Decoded(
        raw_rows=raw_rows,
        width=width,
        height=height,
        frames=1,
        bands=bands,
        depth=16 if array.dtype == np.uint16 else 8,
        metadata=Metadata(),
    )
    return _picture(decoded, name="the array", source_format="array")


def _picture(decoded: Decoded, *, name: str, source_format: str) -> Picture:
    channels = 1 if decoded.bands < 3 else 3
    constant = None
    if decoded.bands in (2, 4):
        bands = (band for frame in range(decoded.frames) for band in decoded.raw_rows(frame, _BAND))
        constant = constant_alpha(bands)
    curved = channels == 3 and tone_tables(decoded.metadata.icc) is not None
    traits = Traits(
        channels=channels,
        alpha=decoded.bands in (2, 4) and constant is None,
        constant_alpha=constant,
        depth=16 if curved else decoded.depth,
        file_depth=decoded.depth,
        metadata=decoded.metadata,
    )
    return Picture(
        decoded.raw_rows,
        name=name,
        width=decoded.width,
        height=decoded.height,
        frames=decoded.frames,
        traits=traits,
        source_format=source_format,
    )


__all__ = ["Limits", "Metadata", "Picture", "Traits", "open_picture", "open_pixels"]

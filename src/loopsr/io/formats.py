"""The table of picture formats: how to know them, what they can hold, how to write them well."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopsr.errors import ImageWriteError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from loopsr.io.traits import Traits

logger = logging.getLogger("loopsr.io")

Options = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How to encode: `quality` 1..100 (None = the format's good default), `lossless`."""

    quality: int | None = None
    lossless: bool = False


@dataclass(frozen=True, kw_only=True)
class Format:
    """What a format is called, can hold, and how libvips is told to write it.

    `bits` is the deepest sample, `alpha` one of full, mask (on or off) and none. `keeps` names the
    metadata that fits. `options` gives the encoder's options from an `Encoding`, bits and bytes.
    """

    name: str
    suffixes: tuple[str, ...]
    max_width: int
    max_height: int
    bits: int
    alpha: str
    keeps: frozenset[str]
    options: Callable[[Encoding, int, int], Options]
    animated: bool = False
    lossless: bool = True  # can it be written without loss?
    lossy: bool = False  # does `quality` mean anything?
    saver: str | None = None  # None: written by loopsr.io.netpbm


_MOST_TWO_PASS = 1 << 27  # bytes of samples


def _jpeg(encoding: Encoding, bits: int, size: int) -> Options:
    # 4:4:4: chroma subsampling would throw away what was just upscaled. Optimal Huffman tables need
    # a second pass over all coefficients, held in memory: 12 bytes a pixel.
    return {
        "Q": encoding.quality or 95,
        "subsample_mode": "off",
        "optimize_coding": size < _MOST_TWO_PASS,
    }


def _png(encoding: Encoding, bits: int, size: int) -> Options:
    return {"compression": 6, "bitdepth": bits}


def _webp(encoding: Encoding, bits: int, size: int) -> Options:
    if encoding.lossless:
        return {"lossless": True, "exact": True, "effort": 4}
    return {"Q": encoding.quality or 90, "alpha_q": 100, "smart_subsample": True, "effort": 4}


def _tiff(encoding: Encoding, bits: int, size: int) -> Options:
    # Classic TIFF ends at 4 GiB; deflate may grow noise a little, so the switch comes early.
    return {"compression": "deflate", "predictor": "horizontal", "bigtiff": size > 3 << 30}


def _avif(encoding: Encoding, bits: int, size: int) -> Options:
    options: Options = {"compression": "av1", "effort": 4, "bitdepth": 12 if bits > 8 else 8}
    if encoding.lossless:
        return options | {"lossless": True}
    return options | {"Q": encoding.quality or 70, "subsample_mode": "off"}


def _gif(encoding: Encoding, bits: int, size: int) -> Options:
    return {"effort": 7, "dither": 1.0}


def _ppm(encoding: Encoding, bits: int, size: int) -> Options:
    return {}


_ALL = frozenset({"icc", "exif", "xmp", "iptc", "dpi"})
_FORMATS = (
    Format(
        name="jpeg",
        suffixes=(".jpg", ".jpeg", ".jpe", ".jfif"),
        max_width=65500,
        max_height=65500,
        bits=8,
        alpha="none",
        keeps=_ALL,
        options=_jpeg,
        lossless=False,
        lossy=True,
        saver="jpegsave",
    ),
    Format(
        name="png",
        suffixes=(".png",),
        max_width=1_000_000,
        max_height=1_000_000,
        bits=16,
        alpha="full",
        keeps=_ALL - {"iptc"},
        options=_png,
        saver="pngsave",
    ),
    Format(
        name="webp",
        suffixes=(".webp",),
        max_width=16383,
        max_height=16383,
        bits=8,
        alpha="full",
        keeps=_ALL - {"iptc"},  # the resolution goes into EXIF
        options=_webp,
        animated=True,
        lossy=True,
        saver="webpsave",
    ),
    Format(
        name="tiff",
        suffixes=(".tif", ".tiff"),
        max_width=10_000_000,
        max_height=10_000_000,
        bits=16,
        alpha="full",
        keeps=_ALL,
        options=_tiff,
        saver="tiffsave",
    ),
    Format(
        name="avif",
        suffixes=(".avif",),
        max_width=16384,
        max_height=16384,
        bits=12,
        alpha="full",
        keeps=_ALL - {"iptc"},  # the resolution goes into EXIF
        options=_avif,
        lossy=True,
        saver="heifsave",
    ),
    Format(
        name="gif",
        suffixes=(".gif",),
        max_width=65535,
        max_height=65535,
        bits=8,
        alpha="mask",
        keeps=frozenset(),
        options=_gif,
        animated=True,
        lossless=False,
        saver="gifsave",
    ),
    Format(
        name="ppm",
        suffixes=(".ppm", ".pgm", ".pnm"),
        max_width=10_000_000,
        max_height=10_000_000,
        bits=16,
        alpha="none",
        keeps=frozenset(),
        options=_ppm,
    ),
)
FORMATS: dict[str, Format] = {entry.name: entry for entry in _FORMATS}
SUFFIXES: dict[str, str] = {suffix: entry.name for entry in _FORMATS for suffix in entry.suffixes}
_SPOKEN = {"jpg": "jpeg", "tif": "tiff", "pgm": "ppm", "pnm": "ppm"}


def format_of(target: str | Path) -> Format:
    """The format that a file name (or a bare format name such as "png") asks for."""
    text = str(target).lower()
    suffix = Path(text).suffix
    if suffix in SUFFIXES:
        return FORMATS[SUFFIXES[suffix]]
    name = _SPOKEN.get(text, text)
    if name in FORMATS:
        return FORMATS[name]
    if suffix or "/" in text or "\\" in text:
        known = " ".join(sorted(SUFFIXES))
        raise UsageError(
            f"{Path(target).name}: the name must end in one of {known}; give -o a name like that"
        )
    raise UnknownNameError("picture format", str(target), FORMATS)


def check_target(
    path_or_format: str | Path,
    *,
    width: int,
    height: int,
    frames: int = 1,
    traits: Traits | None = None,
    encoding: Encoding | None = None,
) -> Format:
    """Check before any computing that a format can hold the planned picture; give the format.

    Raises UsageError for an unknown format or bad options and ImageWriteError for a picture that is
    too large. What the format has to leave out or change (16 bits, alpha, frames, metadata) is a
    warning on the logger `loopsr.io`, one line each.
    """
    entry = checked_format(path_or_format, width=width, height=height, encoding=encoding)
    for line in losses(entry, frames=frames, traits=traits):
        logger.warning("%s", line)
    return entry


def checked_format(
    path_or_format: str | Path, *, width: int, height: int, encoding: Encoding | None = None
) -> Format:
    """The part of `check_target` that raises, without its warnings."""
    entry = format_of(path_or_format)
    _check_encoding(entry, encoding or Encoding())
    if width < 1 or height < 1:
        raise UsageError(f"{width} x {height} pixels is no picture; ask for 1 x 1 or more")
    if width > entry.max_width or height > entry.max_height:
        raise ImageWriteError(
            f"{width} x {height} pixels is too large for {entry.name} (at most {entry.max_width} "
            f"x {entry.max_height}); write .tif or .png, or ask for a smaller picture"
        )
    return entry


def _check_encoding(entry: Format, encoding: Encoding) -> None:
    quality = encoding.quality
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"quality {quality} is out of range; give 1 to 100")
    if encoding.lossless and not entry.lossless:
        raise UsageError(f"{entry.name} has no lossless mode; write .png, .webp, .tif or .avif")
    if quality is not None and not entry.lossy:
        raise UsageError(
            f"quality has no meaning for {entry.name}, which is not lossy in that way; leave it out"
        )


def losses(entry: Format, *, frames: int, traits: Traits | None) -> list[str]:
    """One line for each thing that the format cannot keep of such a picture."""
    said: list[str] = []
    if frames > 1 and not entry.animated:
        said.append(f"{entry.name} holds one frame of {frames}; write .gif or .webp to keep all")
    if traits is None:
        return said
    if traits.stored_depth > entry.bits:
        deeper = ".avif keeps 12, .png and .tif 16" if entry.bits < 12 else ".png and .tif keep 16"
        said.append(f"{entry.name} holds {entry.bits} bits of the picture's 16; {deeper}")
    see_through = traits.alpha or (traits.constant_alpha or 1.0) < 1.0
    if see_through and entry.alpha == "none":
        said.append(f"{entry.name} has no transparency; the picture is laid over white")
    if traits.alpha and entry.alpha == "mask":
        said.append(f"{entry.name} knows no half transparency; alpha becomes on or off")
    held = traits.metadata.held()
    missing = sorted(held - entry.keeps)
    if missing:
        said.append(f"{entry.name} cannot hold {', '.join(missing)}; write .tif or .png to keep it")
    return said

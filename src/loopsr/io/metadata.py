"""Metadata from a picture's header into `Metadata`, and from there onto what is written."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from loopsr.errors import ImageReadError
from loopsr.io.colour import profile_fits, profile_space
from loopsr.io.exif import clean_exif, exif_resolution
from loopsr.io.formats import Format
from loopsr.io.iptc import bare_iptc, photoshop_iptc
from loopsr.io.libvips import vips
from loopsr.io.limits import Limits
from loopsr.io.tiff import TiffFacts
from loopsr.io.traits import Metadata

logger = logging.getLogger("loopsr.io")

_BLOCKS = {"icc": "icc-profile-data", "exif": "exif-data", "xmp": "xmp-data", "iptc": "iptc-data"}
_SCREEN = 72 / 25.4  # what is written where nothing is known, pixels per millimetre


def read_metadata(image: Any, *, name: str, limits: Limits, facts: TiffFacts) -> Metadata:
    """The metadata of an opened libvips image; broken blocks are left out with a warning.

    `facts` stand in where libvips does not give the block, or not the whole of it.
    """
    fields = set(image.get_fields())
    blocks = {key: bytes(image.get(field)) for key, field in _BLOCKS.items() if field in fields}
    for key, block in blocks.items():
        if len(block) > limits.max_metadata:
            raise ImageReadError(
                f"{name}: its {key} block has {len(block)} bytes, at most {limits.max_metadata} "
                "are allowed (max_metadata); if you trust the file, raise it with Limits(...)"
            )
    found = blocks.get("exif") or facts.exif
    exif = clean_exif(found) if found else None
    if found and exif is None:
        logger.warning("%s: the EXIF block is broken and is left out", name)
    xres, yres = _resolution(image, exif)
    delays = tuple(image.get("delay")) if "delay" in fields else ()
    return Metadata(
        icc=blocks.get("icc") or None,
        exif=exif,
        xmp=blocks.get("xmp") or None,
        iptc=bare_iptc(facts.iptc or blocks.get("iptc", b"")),
        xres=xres,
        yres=yres,
        delays=delays,
        loop=int(image.get("loop")) if "loop" in fields else 0,
    )


def _resolution(image: Any, exif: bytes | None) -> tuple[float | None, float | None]:
    """Pixels per millimetre from the header, else from EXIF.

    Where a file says nothing, libvips says 1.0 or 72 dots per inch, which nobody means.
    """
    silent = image.xres == image.yres and (image.xres == 1.0 or abs(image.xres - _SCREEN) < 0.001)
    if not silent and image.xres > 0 and image.yres > 0:
        return image.xres, image.yres
    return exif_resolution(exif) if exif else (None, None)


def fitting_profile(metadata: Metadata, *, channels: int, name: str) -> Metadata:
    """The metadata without a colour profile that is broken or of another kind of picture."""
    if metadata.icc is None or profile_fits(metadata.icc, channels):
        return metadata
    space = profile_space(metadata.icc)
    if space is None:
        logger.warning("%s: the colour profile is broken and is left out; sRGB is assumed", name)
    else:
        logger.warning(
            "%s: the colour profile is for %s and the picture has %d colour channel(s); "
            "the profile is left out",
            *(name, space, channels),
        )
    return dataclasses.replace(metadata, icc=None)


def kept_blocks(metadata: Metadata, entry: Format) -> str:
    """What libvips shall write, in its own words: no EXIF block of its making where none was.

    WebP and AVIF have no other place for the resolution, and libvips writes JPEG's only with it.
    """
    kept = "xmp:iptc:icc:other"
    needs_exif = entry.name in ("jpeg", "webp", "avif") and metadata.dpi is not None
    return kept + ":exif" if metadata.exif or needs_exif else kept


def attach(image: Any, metadata: Metadata, entry: Format, *, page_height: int | None) -> Any:
    """A copy of the image that carries what the format keeps; EXIF comes in with the stream."""
    pyvips = vips()
    keeps = entry.keeps
    if image.bands < 3 and entry.name in ("webp", "avif", "gif"):
        keeps = keeps - {"icc"}  # written as RGB there, which a grey profile cannot serve
    sharp = "dpi" in keeps and metadata.dpi is not None
    image = image.copy(
        xres=metadata.xres if sharp else _SCREEN, yres=metadata.yres if sharp else _SCREEN
    )
    for key in ("icc", "xmp", "iptc"):
        block = getattr(metadata, key)
        if key == "iptc" and block:
            if entry.name == "tiff":  # libvips would cut it off: loopsr.io.tiff adds it
                continue
            block = photoshop_iptc(block)
        if block and key in keeps:
            image.set_type(pyvips.GValue.blob_type, _BLOCKS[key], block)
    if page_height is not None:
        image.set_type(pyvips.GValue.gint_type, "page-height", page_height)
        image.set_type(pyvips.GValue.gint_type, "loop", metadata.loop)
        if metadata.delays:
            image.set_type(pyvips.GValue.array_int_type, "delay", list(metadata.delays))
    return image

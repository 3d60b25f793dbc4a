"""A file's content as upright rows of 1 to 4 channels at 8 or 16 bits, whatever was stored."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.errors import ImageReadError
from loopsr.io.gif import check_gif_end
from loopsr.io.libvips import first_line, vips
from loopsr.io.limits import Limits, check_size
from loopsr.io.metadata import fitting_profile, read_metadata
from loopsr.io.netpbm import check_netpbm_length, netpbm_header, netpbm_rows
from loopsr.io.tiff import TiffFacts, tiff_facts
from loopsr.io.traits import Metadata

logger = logging.getLogger("loopsr.io")

_LOADERS = {
    "jpeg": "jpegload",
    "png": "pngload",
    "webp": "webpload",
    "tiff": "tiffload",
    "avif": "heifload",
    "gif": "gifload",
}
# Before a frame, table, scan, application or comment marker; not in or after the scan itself.
_STRAY = re.compile(r"extraneous bytes before marker 0x(c0|c1|c2|c4|da|db|dd|e.|fe)")
_ANIMATED = ("gif", "webp")
_DEPTHS = {"uchar": 8, "ushort": 16}


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What a decoder offers: `raw_rows(frame, band)` gives bands (h, width, bands) upright."""

    raw_rows: Callable[[int, int], Iterator[NDArray[Any]]]
    width: int
    height: int
    frames: int
    bands: int
    depth: int
    metadata: Metadata


def decode(source: Path | bytes, *, kind: str, head: bytes, name: str, limits: Limits) -> Decoded:
    """Read the header of a picture of the format `kind`; raises ImageReadError."""
    if kind == "ppm":
        return _decode_netpbm(source, head, name=name, limits=limits)
    if kind == "gif":
        check_gif_end(source, name=name)
    loader = _Loader(source, kind, name)
    facts = _tiff_facts(source, name=name) if kind == "tiff" else TiffFacts()
    with reading(name, kind):
        header = loader.open(sequential=True)
        frames = _check_header(header, kind=kind, name=name, limits=limits)
        metadata = read_metadata(header, name=name, limits=limits, facts=facts)
        loader.orientation = 1 if kind == "avif" or frames > 1 else _orientation(header)
        sample = loader.upright(header)
        channels = 1 if sample.bands < 3 else 3
        if header.interpretation == "cmyk":
            logger.info("%s: CMYK colours are converted to sRGB", name)
            metadata = dataclasses.replace(metadata, icc=None)
    if kind == "png" and b"acTL" in head:
        logger.warning("%s: an animated PNG; only its first frame is used", name)
    return Decoded(
        raw_rows=loader.rows,
        width=sample.width,
        height=sample.height // frames,
        frames=frames,
        bands=sample.bands,
        depth=_DEPTHS[sample.format],
        metadata=fitting_profile(metadata, channels=channels, name=name),
    )


@contextlib.contextmanager
def reading(name: str, kind: str) -> Iterator[None]:
    """Turn what libvips says of a damaged file into an ImageReadError."""
    try:
        yield
    except vips().Error as error:
        cause = first_line(error)
        raise ImageReadError(
            f"{name}: the {kind} data is broken or cut short{f' ({cause})' if cause else ''}; "
            "copy or download the file again"
        ) from None


@dataclass(frozen=True)
class _Reel:
    """An opened strip of frames, read up to row `top`, where frame `next` starts."""

    image: Any
    region: Any
    height: int
    next: int
    top: int


class _Loader:
    """One file and how to open it; every reading opens it anew, so that it starts at the top."""

    def __init__(self, source: Path | bytes, kind: str, name: str) -> None:
        self._source = source
        self._kind = kind
        self._name = name
        self.orientation = 1
        self._lenient = False
        self._reel: _Reel | None = None

    def open(self, *, sequential: bool, page: int = 0) -> Any:
        """The libvips image as the file has it, frames from `page` on below one another."""
        options: dict[str, Any] = {
            "access": "sequential" if sequential else "random",
            # libjpeg paints damaged data grey and only warns.
            "fail_on": "warning" if self._kind == "jpeg" and not self._lenient else "error",
        }
        if self._kind in _ANIMATED:
            options |= {"page": page, "n": -1}
        if self._kind == "png":
            options["unlimited"] = True
        image = vips().Image
        loader = _LOADERS[self._kind]
        try:
            if isinstance(self._source, bytes):
                return getattr(image, loader + "_buffer")(self._source, **options)
            return getattr(image, loader)(_file_name(self._source), **options)
        except vips().Error as error:
            if not self.harmless(error):
                raise
        return self.open(sequential=sequential, page=page)

    def harmless(self, error: Exception) -> bool:
        """Did libvips stop at stray bytes between the segments of a JPEG header?

        Some cameras leave them. From then on the file is opened less strictly.
        """
        said = str(error)
        if self._lenient or not _STRAY.search(said) or "premature" in said:
            return False
        logger.warning("%s: stray bytes in the jpeg data; they are skipped", self._name)
        self._lenient = True
        return True

    def upright(self, image: Any) -> Any:
        """The image turned upright, in RGB or grey with or without alpha."""
        image = _plain_colour(image, self._kind, self._name)
        if self.orientation == 1:
            return image
        image = image.copy()
        image.set_type(vips().GValue.gint_type, "orientation", self.orientation)
        return image.autorot()

    def rows(self, frame: int, band: int) -> Iterator[NDArray[Any]]:
        """Bands of one frame; frames in order go on where the last one ended."""
        with reading(self._name, self._kind):
            reel = self._reel if self._reel and self._reel.next == frame else self._opened(frame)
            self._reel = None  # taken: two readers at once must not share it
            image, height = reel.image, reel.height
            dtype = np.uint8 if image.format == "uchar" else np.uint16
            for start in range(0, height, band):
                rows = min(band, height - start)
                try:
                    data = reel.region.fetch(0, reel.top + start, image.width, rows)
                except vips().Error as error:
                    if not self.harmless(error):
                        raise
                    reel = self._opened(frame)
                    data = reel.region.fetch(0, reel.top + start, image.width, rows)
                yield np.frombuffer(data, dtype).reshape(rows, image.width, image.bands)
            if reel.top + height < image.height:
                self._reel = dataclasses.replace(reel, next=frame + 1, top=reel.top + height)

    def _opened(self, frame: int) -> _Reel:
        # Turning needs every row at any time: libvips then decodes to memory, or to a temporary
        # file when that is large. A left-right flip stays within its row.
        image = self.upright(self.open(sequential=self.orientation in (1, 2), page=frame))
        height = image.get_page_height() if self._kind in _ANIMATED else image.height
        return _Reel(image, vips().Region.new(image), height, frame, 0)


def _file_name(path: Path) -> str:
    """A name that libvips can take: it wants UTF-8, which a Linux file name need not be."""
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ImageReadError(
            f"{path.name!r}: the file name is not valid UTF-8; rename the file"
        ) from None
    return text


def _check_header(header: Any, *, kind: str, name: str, limits: Limits) -> int:
    """Check the claimed size and sample type; give the number of frames."""
    fields = set(header.get_fields())
    frames, height = 1, header.height
    if kind in _ANIMATED:
        height = header.get_page_height()
        frames = max(header.height // height, 1)
    many = ("interlaced", "jpeg-multiscan")
    progressive = any(field in fields and header.get(field) for field in many)
    check_size(
        limits,
        name=name,
        width=header.width,
        height=height,
        frames=frames,
        whole=kind in ("webp", "avif") or progressive,
    )
    if header.format not in _DEPTHS:
        raise ImageReadError(
            f"{name}: samples of type {header.format}, expected 8 or 16 bit integers; "
            "convert it to 16 bits first"
        )
    if kind == "tiff" and "n-pages" in fields and header.get("n-pages") > 1:
        pages = header.get("n-pages")
        logger.warning("%s: %d pages; only the first one is used", name, pages)
    return frames


def _tiff_facts(source: Path | bytes, *, name: str) -> TiffFacts:
    """What libvips does not tell; raises for the one colour model that it would show wrongly."""
    facts = tiff_facts(source)
    if facts.photometric == 6 and facts.compression not in (6, 7):
        raise ImageReadError(
            f"{name}: a TIFF in YCbCr without JPEG, which is not supported; save it as RGB"
        )
    return facts


def _orientation(header: Any) -> int:
    if "orientation" not in header.get_fields():
        return 1
    value = int(header.get("orientation"))
    return value if 1 <= value <= 8 else 1


def _plain_colour(image: Any, kind: str, name: str) -> Any:
    """RGB or grey, alpha last, 8 or 16 bit, whatever the file's colour model is."""
    if image.interpretation == "cmyk":
        return _from_cmyk(image)
    if image.interpretation in ("lab", "labs", "labq", "xyz", "lch", "hsv", "scrgb"):
        image = image.colourspace("rgb16" if image.format == "ushort" else "srgb")
    if image.bands > 4:
        raise ImageReadError(
            f"{name}: {image.bands} channels, expected 1 to 4; save it as grey, RGB or RGBA"
        )
    if kind == "avif" and image.format == "ushort":
        return _full_range(image)
    return image


def _from_cmyk(image: Any) -> Any:
    """sRGB of a CMYK picture by its own profile, or by a common press profile without one."""
    alpha = image[4:] if image.bands > 4 else None
    wide = image.format == "ushort"
    options = {"embedded": True, "input_profile": "cmyk", "depth": 16 if wide else 8}
    rgb = image[:4].copy(interpretation="cmyk").icc_transform("srgb", intent="relative", **options)
    if alpha is None:
        return rgb
    return rgb.bandjoin(alpha[0].cast(rgb.format))


def _full_range(image: Any) -> Any:
    """AVIF's 10 or 12 bits come shifted up: stretch them, so that white is 65535."""
    bits = int(image.get("bits-per-sample")) if "bits-per-sample" in image.get_fields() else 16
    top = ((1 << bits) - 1) << (16 - bits)
    if bits >= 16 or top == 65535:
        return image
    return (image * (65535 / top)).rint().cast("ushort")


def _decode_netpbm(source: Path | bytes, head: bytes, *, name: str, limits: Limits) -> Decoded:
    header = netpbm_header(head, name=name)
    check_size(limits, name=name, width=header.width, height=header.height, frames=1, whole=False)
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    check_netpbm_length(header, size, name=name)
    return Decoded(
        raw_rows=lambda frame, band: netpbm_rows(source, header, name=name, band=band),
        width=header.width,
        height=header.height,
        frames=1,
        bands=header.channels,
        depth=header.depth,
        metadata=Metadata(),
    )

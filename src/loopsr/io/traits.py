"""What a picture is besides its pixels and its size; it travels from the reader to the writer."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The blocks that are carried along, as bytes.

    `exif` starts at its TIFF header, has orientation 1 and no thumbnail. `xres`, `yres` are in
    pixels per millimetre (None: not said in the file). `delays` are milliseconds, one a frame;
    `loop` counts the runs of an animation, 0 = for ever.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    xres: float | None = None
    yres: float | None = None
    delays: tuple[int, ...] = ()
    loop: int = 0

    @property
    def dpi(self) -> tuple[float, float] | None:
        """Dots per inch, across and down."""
        if self.xres is None or self.yres is None:
            return None
        return self.xres * 25.4, self.yres * 25.4

    def held(self) -> frozenset[str]:
        """The names of the blocks that are there: icc, exif, xmp, iptc, dpi."""
        blocks = {"icc": self.icc, "exif": self.exif, "xmp": self.xmp, "iptc": self.iptc}
        names = {name for name, block in blocks.items() if block}
        return frozenset(names | ({"dpi"} if self.dpi else set()))


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Everything about a picture but its pixels and its size.

    `channels` is 1 (grey) or 3. `alpha` says that rows carry a last channel of alpha, which is so
    only when it varies; an alpha that is the same everywhere is `constant_alpha` (0..1) and costs
    nothing. `depth` is the depth of the rows, `stored_depth` that of the file: they differ when
    rows come in a working tone curve (see loopsr.io.colour).
    """

    channels: int = 3
    alpha: bool = False
    constant_alpha: float | None = None
    depth: int = 8
    file_depth: int | None = None
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def stored_depth(self) -> int:
        """Bits a sample that the picture had in its file, and will have again."""
        return self.file_depth or self.depth

    @property
    def bands(self) -> int:
        """Channels of the rows, alpha included."""
        return self.channels + int(self.alpha)

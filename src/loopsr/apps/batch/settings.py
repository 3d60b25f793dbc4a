"""What holds for every input of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Size:
    """The size that was asked for; exactly one kind of it, by default four times."""

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    long_edge: int | None = None

    def suffix(self) -> str:
        """What the default file name says of the size: ``_x4``, ``_w1920``, ``_1920x1080``."""
        if self.scale is not None:
            return f"_x{self.scale:g}"
        if self.long_edge is not None:
            return f"_long{self.long_edge}"
        if self.width is not None and self.height is not None:
            return f"_{self.width}x{self.height}"
        return f"_w{self.width}" if self.width is not None else f"_h{self.height}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options that hold for every input of a run. JSON-able by ``asdict``."""

    size: Size
    format: str | None = None
    quality: int | None = None
    lossless: bool = False
    overwrite: bool = False

"""What holds for every input of a run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Size:
    """The size that was asked for; exactly one kind of it, by default four times."""

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    long_edge: int | None = None

    def label(self) -> str:
        """What the default file name says of the size: ``x4``, ``w1920``, ``1920x1080``."""
        if self.scale is not None:
            return f"x{self.scale:g}"
        if self.long_edge is not None:
            return f"long{self.long_edge}"
        if self.width is not None and self.height is not None:
            return f"{self.width}x{self.height}"
        return f"w{self.width}" if self.width is not None else f"h{self.height}"


@dataclass(frozen=True, kw_only=True)
class VideoWishes:
    """The options that hold for the videos of a run; times in seconds.

    ``size`` None: that of the pictures. ``preview`` asks for one frame instead of the video.
    """

    size: Size | None = None
    codec: str | None = None
    crf: int | None = None
    start: float = 0.0
    duration: float | None = None
    preview: float | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options that hold for every input of a run. JSON-able by ``asdict``."""

    size: Size
    format: str | None = None
    quality: int | None = None
    lossless: bool = False
    overwrite: bool = False
    show_steps: str | None = None  # a PNG, of one picture
    video: VideoWishes = field(default_factory=VideoWishes)


def fingerprint(settings: Settings, identity: dict[str, Any]) -> str:
    """A short hash of all that decides a result: equal ones mean equal results.

    ``identity`` is that of the ``Upscaler``. What changes no result does not count.
    """
    from loopsr import __version__  # slow import: asks the installed packages

    given = {**asdict(settings), "overwrite": None, "show_steps": None}
    facts = {**given, "upscaler": identity, "loopsr": __version__}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

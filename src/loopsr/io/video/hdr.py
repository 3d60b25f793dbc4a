"""HDR metadata that stands still: the display it was graded on, and how bright it gets."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

# What belongs to single frames and that no encoder takes through PyAV.
_DYNAMIC = {
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DOVI_METADATA": "Dolby Vision",
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
}


@dataclass(frozen=True, kw_only=True)
class Hdr:
    """``display``: x, y of red, green, blue and white, then least and most luminance in cd/m2;
    ``light``: brightest pixel and brightest mean of a frame, cd/m2. None: not said.
    """

    display: tuple[float, ...] | None = None
    light: tuple[int, int] | None = None

    def options(self, codec: str) -> dict[str, str]:
        """The encoder's own parameters; empty where it has none."""
        builders = {"h264": self._x264, "h265": self._x265, "av1": self._svt}
        return builders[codec]() if codec in builders else {}

    def _x264(self) -> dict[str, str]:
        words = [f"mastering-display={self._units()}"] if self.display else []
        words += ["cll={},{}".format(*self.light)] if self.light else []
        return {"x264-params": ":".join(words)} if words else {}

    def _x265(self) -> dict[str, str]:
        words = [f"master-display={self._units()}"] if self.display else []
        words += ["max-cll={},{}".format(*self.light)] if self.light else []
        return {"x265-params": ":".join(words)} if words else {}

    def _svt(self) -> dict[str, str]:
        words = []
        if self.display:
            r, g, b, w = (self.display[i : i + 2] for i in range(0, 8, 2))
            pairs = (("G", g), ("B", b), ("R", r), ("WP", w), ("L", self.display[:7:-1]))
            words.append(
                "mastering-display=" + "".join(f"{k}({x:.5f},{y:.5f})" for k, (x, y) in pairs)
            )
        words += ["content-light={},{}".format(*self.light)] if self.light else []
        return {"svtav1-params": ":".join(words)} if words else {}

    def _units(self) -> str:
        """The display in the steps of H.265: 0.00002 of chromaticity, 0.0001 cd/m2."""
        assert self.display is not None
        xy = [round(value * 50000) for value in self.display[:8]]
        low, high = (round(value * 10000) for value in self.display[8:])
        r, g, b, w = (f"({xy[i]},{xy[i + 1]})" for i in range(0, 8, 2))
        return f"G{g}B{b}R{r}WP{w}L({high},{low})"


def hdr_of(frame: Any) -> Hdr | None:
    """The HDR metadata of a decoded frame, None when it has none."""
    blocks = {data.type.name: bytes(data) for data in frame.side_data}
    display = _display(blocks.get("MASTERING_DISPLAY_METADATA", b""))
    block = blocks.get("CONTENT_LIGHT_LEVEL", b"")
    light = struct.unpack_from("=2I", block) if len(block) >= 8 else None
    if display is None and light is None:
        return None
    return Hdr(display=display, light=light)


def dynamic_hdr(frame: Any) -> list[str]:
    """Names of the HDR metadata that changes from frame to frame; it cannot be kept."""
    return sorted({_DYNAMIC[d.type.name] for d in frame.side_data if d.type.name in _DYNAMIC})


def _display(block: bytes) -> tuple[float, ...] | None:
    """Read AVMasteringDisplayMetadata: ten fractions, then whether each half of them is valid."""
    if len(block) < 88:
        return None
    *numbers, has_primaries, has_luminance = struct.unpack_from("=22i", block)
    if not (has_primaries and has_luminance):
        return None
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return tuple(top / bottom if bottom else 0.0 for top, bottom in pairs)

"""Colour that is kept: profiles are read, tone curves straightened for the network and bent back.

The networks learned from pictures in sRGB, and what they rely on is its perceptual tone curve.
Clipping Display P3 or Adobe RGB into sRGB's primaries would destroy colours that no way back can
restore. So a picture stays in its own primaries, and only a profile whose tone curve is far from
perceptual (linear light above all) is taken to sRGB's curve at 16 bits, and back when written.
Source: ICC.1:2022 for `curv` and `para`, IEC 61966-2-1 for sRGB's curve.
"""

from __future__ import annotations

import functools
import logging
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger("loopsr.io")

# The gammas 1.8 to 2.6 differ from sRGB's curve by less than this, linear light by 0.28 and more.
NEAR_ENOUGH = 0.10
_LEVELS = 65536


@dataclass(frozen=True)
class ToneTables:
    """16-bit tables, (65536, 3): `forward` from the file to sRGB's curve, `back` the other way."""

    forward: NDArray[np.uint16]
    back: NDArray[np.uint16]


def profile_space(icc: bytes) -> str | None:
    """The colour space of a profile: "RGB", "GRAY", "CMYK", ...; None when it is no profile."""
    if len(icc) < 132 or icc[36:40] != b"acsp":
        return None
    return icc[16:20].decode("latin-1").strip()


def profile_fits(icc: bytes, channels: int) -> bool:
    """Does the profile belong to a picture of so many colour channels (1 or 3)?"""
    return profile_space(icc) == ("GRAY" if channels == 1 else "RGB")


@functools.lru_cache(maxsize=4)
def tone_tables(icc: bytes | None) -> ToneTables | None:
    """Tables for a profile with a tone curve that is not perceptual; None for all others."""
    if not icc or profile_space(icc) != "RGB":
        return None
    curves = [_curve(icc, tag) for tag in (b"rTRC", b"gTRC", b"bTRC")]
    known = [curve for curve in curves if curve is not None]
    if len(known) < 3:
        return None
    ramp = np.linspace(0.0, 1.0, _LEVELS)
    bent = [srgb_encode(np.clip(curve, 0.0, 1.0)) for curve in known]
    if max(float(np.abs(curve - ramp).max()) for curve in bent) < NEAR_ENOUGH:
        return None
    if any((np.diff(curve) < 0).any() for curve in bent):
        logger.warning("the tone curve of the colour profile is not monotone; it is left as it is")
        return None
    forward = np.stack([_levels(curve) for curve in bent], axis=1)
    back = np.stack([_levels(np.interp(ramp, curve, ramp)) for curve in bent], axis=1)
    return ToneTables(forward, back)


def apply_table(band: NDArray[Any], table: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Take the three colours of a band (h, w, 3 or 4) through a table; alpha only gets 16 bits."""
    wide = band.astype(np.uint16) * np.uint16(257) if band.dtype == np.uint8 else band
    result = wide.copy()
    for channel in range(3):
        result[..., channel] = table[wide[..., channel], channel]
    return result


def srgb_encode(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear light 0..1 to sRGB values 0..1."""
    curved = 1.055 * np.power(np.maximum(linear, 0.0031308), 1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curved)


def _levels(values: NDArray[np.float64]) -> NDArray[np.uint16]:
    return np.rint(np.clip(values, 0.0, 1.0) * (_LEVELS - 1)).astype(np.uint16)


def _curve(icc: bytes, tag: bytes) -> NDArray[np.float64] | None:
    """The curve of a tag at 65536 places, 0..1; None when it is missing or broken."""
    try:
        (count,) = struct.unpack_from(">I", icc, 128)
        for entry in range(min(count, 256)):
            name, at, size = struct.unpack_from(">4sII", icc, 132 + 12 * entry)
            if name == tag:
                return _curve_values(icc[at : at + size])
    except (struct.error, ValueError, IndexError):
        pass
    return None


def _curve_values(block: bytes) -> NDArray[np.float64] | None:
    ramp = np.linspace(0.0, 1.0, _LEVELS)
    if block[:4] == b"curv":
        (count,) = struct.unpack_from(">I", block, 8)
        if count == 0:
            return ramp
        if count == 1:
            return np.asarray(ramp ** (struct.unpack_from(">H", block, 12)[0] / 256))
        points = np.frombuffer(block, ">u2", count, 12) / 65535
        return np.interp(ramp, np.linspace(0.0, 1.0, count), points)
    if block[:4] == b"para":
        (kind,) = struct.unpack_from(">H", block, 8)
        number = (1, 3, 4, 5, 7)[kind]
        fixed = struct.unpack_from(f">{number}i", block, 12)
        return _parametric(ramp, kind, [value / 65536 for value in fixed])
    return None


def _parametric(
    x: NDArray[np.float64], kind: int, values: list[float]
) -> NDArray[np.float64] | None:
    """ICC's parametricCurveType: Y = (aX + b)^g + e from d on, Y = cX + f below."""
    gamma, a, b, c, d, e, f = (*values, *[0.0] * (7 - len(values)))
    if kind == 0:
        a = 1.0
    if kind in (1, 2):
        if a == 0:
            return None
        e = f = c if kind == 2 else 0.0
        c, d = 0.0, -b / a
    upper = np.power(np.maximum(a * x + b, 0.0), gamma) + e
    result = np.where(x >= d, upper, c * x + f)
    return result if np.isfinite(result).all() else None

"""Pictures of other libraries as plain samples, and back: numpy, PIL, pyvips."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.errors import ImageError, UsageError
from loopsr.io.alpha import bleed_rows

_FLOATS = (np.float16, np.float32, np.float64)
_SLACK = 0.5  # how far floats may lie outside [0, 1]: an overshoot, but no 0..255 picture
_BLEED_BAND = 256
_KEPT_FIELDS = ("icc-profile-data", "exif-data", "xmp-data", "iptc-data", "orientation")


@dataclass(frozen=True, kw_only=True)
class Still:
    """Samples (h, w, c), c = channels + alpha, and the way back to the caller's type.

    ``restore`` takes samples of another size with the same channels and dtype.
    """

    pixels: NDArray[Any]
    channels: int  # 1 or 3
    alpha: bool  # only when it varies
    restore: Callable[[NDArray[Any]], Any]


def read_still(image: Any) -> Still:
    """Take a picture apart. Raises ``UsageError`` for what is none, ``ImageError`` for samples."""
    module = type(image).__module__.partition(".")[0]
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if module == "PIL" and hasattr(image, "mode"):
        return _from_pil(image)
    if module == "pyvips" and hasattr(image, "bands"):
        return _from_vips(image)
    raise UsageError(
        f"got {type(image).__name__}, a numpy array, PIL image or pyvips image was expected; "
        "for files use loopsr.upscale_file"
    )


def _from_array(array: NDArray[Any]) -> Still:
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] > 4):
        raise UsageError(
            f"got an array of shape {array.shape}, (h, w) or (h, w, 1 to 4) was expected; "
            "put channels last and pass one picture at a time"
        )
    pixels = array[..., None] if array.ndim == 2 else array
    if array.ndim == 3:
        return _split(_checked(pixels), lambda result: result)
    return _split(_checked(pixels), lambda result: result[..., 0])


def _checked(pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    if pixels.dtype not in _FLOATS:
        raise UsageError(
            f"got pixels of {pixels.dtype}, uint8, uint16 or floats in [0, 1] were expected; "
            "convert them with .astype"
        )
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= -_SLACK and high <= 1 + _SLACK):  # also when one is not a number
        raise ImageError(
            f"got floats from {low:g} to {high:g}, [0, 1] was expected; divide by the largest level"
        )
    return pixels if low >= 0 and high <= 1 else pixels.clip(0, 1)


def _split(pixels: NDArray[Any], restore: Callable[[NDArray[Any]], Any]) -> Still:
    """Set an alpha apart that is the same everywhere: it need not be computed."""
    count = pixels.shape[2]
    channels = 1 if count < 3 else 3
    if count in (1, 3):
        return Still(pixels=pixels, channels=channels, alpha=False, restore=restore)
    cover = pixels[..., -1]
    if cover.min() < cover.max():
        return Still(pixels=_bled(pixels), channels=channels, alpha=True, restore=restore)

    def with_alpha(result: NDArray[Any]) -> Any:
        same = np.full((*result.shape[:2], 1), cover.flat[0], result.dtype)
        return restore(np.concatenate([result, same], axis=2))

    return Still(pixels=pixels[..., :-1], channels=channels, alpha=False, restore=with_alpha)


def _bled(pixels: NDArray[Any]) -> NDArray[Any]:
    """Colour brought under wholly transparent pixels, so that none of what hides there shows."""
    if pixels.dtype.kind == "u":
        return np.concatenate(list(bleed_rows([pixels], band=_BLEED_BAND)))
    levels = np.round(pixels * 65535).astype(np.uint16)
    levels[..., -1][pixels[..., -1] > 0] |= 1  # what is seen at all counts as seen
    spread = np.concatenate(list(bleed_rows([levels], band=_BLEED_BAND)))
    hidden = pixels[..., -1:] == 0
    return np.where(hidden, spread.astype(pixels.dtype) / 65535, pixels)


def _from_pil(image: Any) -> Still:
    pil: Any = importlib.import_module("PIL.Image")
    info = {key: value for key, value in image.info.items() if key != "transparency"}
    if image.mode.startswith("I;16"):
        pixels = np.asarray(image).astype(np.uint16)[..., None]
        mode = "I;16"
    elif image.mode in ("I", "F"):
        raise UsageError(
            f"got a PIL image of mode {image.mode}, whose range is not known; "
            "convert it to L or I;16"
        )
    else:
        mode = _pil_mode(image)
        if image.mode in ("CMYK", "LAB", "YCbCr", "HSV"):
            info.pop("icc_profile", None)  # it describes inks, no longer these samples
        pixels = np.asarray(image if image.mode == mode else image.convert(mode))
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels

    def restore(result: NDArray[Any]) -> Any:
        flat = result[..., 0] if result.shape[2] == 1 else result
        # uint8 and uint16 arrays of these shapes are the modes L, LA, RGB, RGBA and I;16.
        larger = pil.fromarray(np.ascontiguousarray(flat))
        assert larger.mode == mode, larger.mode
        larger.info = info
        return larger

    return _split(pixels, restore)


def _pil_mode(image: Any) -> str:
    """The mode among L, LA, RGB and RGBA that holds a PIL image."""
    if image.mode == "1":
        return "L"
    grey = image.mode in ("L", "LA", "La")
    alpha = image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info
    return ("LA" if alpha else "L") if grey else ("RGBA" if alpha else "RGB")


def _from_vips(image: Any) -> Still:
    pyvips: Any = importlib.import_module("pyvips")
    if "page-height" in image.get_fields() and image.get("page-height") < image.height:
        raise UsageError("got several pages in one pyvips image; pass one, or use upscale_file")
    if image.interpretation not in ("srgb", "rgb", "rgb16", "b-w", "grey16", "multiband"):
        image = image.colourspace("rgb16" if image.format in ("ushort", "float") else "srgb")
    if image.format not in ("uchar", "ushort", "float", "double"):
        raise UsageError(
            f"got a pyvips image of format {image.format}, uchar, ushort or float was expected; "
            "use image.cast"
        )
    if image.bands > 4:
        raise UsageError(f"got a pyvips image of {image.bands} bands, 1 to 4 were expected")
    pixels = image.numpy()
    pixels = _checked(pixels[..., None] if pixels.ndim == 2 else pixels)
    kept = {name: image.get(name) for name in image.get_fields() if name in _KEPT_FIELDS}
    look = {"interpretation": image.interpretation, "xres": image.xres, "yres": image.yres}

    def restore(result: NDArray[Any]) -> Any:
        larger = pyvips.Image.new_from_array(np.ascontiguousarray(result)).copy(**look)
        for name, value in kept.items():
            kind = pyvips.GValue.gint_type if isinstance(value, int) else pyvips.GValue.blob_type
            larger.set_type(kind, name, value)
        return larger

    return _split(pixels, restore)

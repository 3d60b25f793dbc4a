"""The one door to PyAV: imported on first use, quiet."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
from types import ModuleType

from loopsr.errors import MissingExtraError


def installed() -> bool:
    """Whether PyAV is there; imports nothing."""
    return importlib.util.find_spec("av") is not None


@functools.cache
def pyav() -> ModuleType:
    """The module ``av``. Raises ``MissingExtraError`` when it is not installed."""
    os.environ.setdefault("SVT_LOG", "-1")  # the AV1 encoder else writes pages to stderr
    try:
        return importlib.import_module("av")
    except ImportError:
        raise MissingExtraError("video", "video") from None


def first_line(error: BaseException) -> str:
    """What FFmpeg said, as one short line."""
    text = str(getattr(error, "strerror", None) or error).strip()
    return (text.splitlines() or [type(error).__name__])[0][:160]

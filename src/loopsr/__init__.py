"""Super-resolution without a GPU: recurrent networks under 75,000 parameters.

    import loopsr
    larger = loopsr.upscale(image, scale=4)  # numpy, PIL or pyvips; comes back as the same

Everything below is imported on first use.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loopsr.engine.files import FileResult as FileResult
    from loopsr.engine.files import upscale_file as upscale_file
    from loopsr.engine.upscaler import Upscaler as Upscaler
    from loopsr.engine.upscaler import upscale as upscale
    from loopsr.errors import BackendError as BackendError
    from loopsr.errors import Cancelled as Cancelled
    from loopsr.errors import ImageError as ImageError
    from loopsr.errors import ImageReadError as ImageReadError
    from loopsr.errors import ImageWriteError as ImageWriteError
    from loopsr.errors import LoopsrError as LoopsrError
    from loopsr.errors import MissingExtraError as MissingExtraError
    from loopsr.errors import TrainingError as TrainingError
    from loopsr.errors import UnknownNameError as UnknownNameError
    from loopsr.errors import UsageError as UsageError
    from loopsr.errors import WeightsError as WeightsError

    __version__: str

_HOME: dict[str, str] = {
    "upscale": "loopsr.engine.upscaler",
    "Upscaler": "loopsr.engine.upscaler",
    "upscale_file": "loopsr.engine.files",
    "FileResult": "loopsr.engine.files",
    "LoopsrError": "loopsr.errors",
    "UsageError": "loopsr.errors",
    "UnknownNameError": "loopsr.errors",
    "ImageError": "loopsr.errors",
    "ImageReadError": "loopsr.errors",
    "ImageWriteError": "loopsr.errors",
    "WeightsError": "loopsr.errors",
    "BackendError": "loopsr.errors",
    "MissingExtraError": "loopsr.errors",
    "TrainingError": "loopsr.errors",
    "Cancelled": "loopsr.errors",
}
__all__ = [*_HOME, "__version__"]

# A library prints nothing unless its user sets up logging.
logging.getLogger("loopsr").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name == "__version__":
        metadata = importlib.import_module("importlib.metadata")
        try:
            return metadata.version("loopsr")
        except metadata.PackageNotFoundError:  # run from a source tree that was never installed
            return "0+source"
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'loopsr' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)

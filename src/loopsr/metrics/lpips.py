"""LPIPS (Zhang et al. 2018, arXiv 1801.03924), by its authors' package `lpips`; an extra.

Its distance is made by AlexNet. The package has the weights of the last layers only; those of
AlexNet itself (244 MB) are fetched by torchvision at first use, or taken from its cache.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.errors import BackendError, MissingExtraError, first_line
from loopsr.metrics.psnr import check_pair

Pixels = NDArray[np.generic]


def open_lpips() -> Callable[..., float]:
    """A metric: lower is better, 0 for equal pictures.

    AlexNet, version 0.1, on RGB of the whole picture: ``border`` is not cut, as is the habit with
    LPIPS. Pictures are (h, w, 3) of 0..255. Raises ``MissingExtraError``, and ``BackendError`` when
    AlexNet cannot be had or torchvision does not load.
    """
    try:
        torch: Any = importlib.import_module("torch")
        lpips: Any = importlib.import_module("lpips")
    except ImportError as error:
        raise MissingExtraError(f"LPIPS ({first_line(error)})", "lpips") from error
    except RuntimeError as error:  # what torchvision raises beside a torch of another build
        raise BackendError(
            f"the installed torchvision does not fit this torch ({first_line(error)}); install "
            "both from one place, for example with the same --index-url"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torchvision, about how `lpips` calls it
            network = lpips.LPIPS(net="alex", verbose=False).eval()
    except Exception as error:  # no network, no room, a damaged file: whatever torch.hub raises
        raise BackendError(
            "the weights of AlexNet could not be had from torchvision "
            f"({first_line(error)}); run once with a network, or copy "
            "alexnet-owt-7be5be79.pth into ~/.cache/torch/hub/checkpoints"
        ) from error

    def lpips_rgb(image: Pixels, reference: Pixels, *, border: int) -> float:
        check_pair(image, reference, 0)
        pair = [
            torch.from_numpy(picture.astype(np.float32).transpose(2, 0, 1)[None] / 127.5 - 1)
            for picture in (image, reference)
        ]
        with torch.inference_mode():
            return float(network(*pair))

    return lpips_rgb

"""What the backends share: the file cut to the steps that are wanted, and errors in our words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loopsr.card import ModelCard
from loopsr.errors import BackendError, WeightsError, first_line
from loopsr.weights.onnx_graph import with_steps

Pixels = NDArray[np.float32]


def onnx_bytes(card: ModelCard, path: Path, iters: int | None) -> bytes:
    """The ONNX file of ``card`` that stops after ``iters`` steps (None: all).

    Raises ``WeightsError`` for a file that cannot be read or does not tell its steps apart.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read ({error.strerror or error}); check the path"
        ) from error
    if iters is None or card.iters is None:
        return data
    return with_steps(data, iters, of=card.iters, file=str(path))


def checked_output(output: Pixels, pixels: Pixels, card: ModelCard) -> Pixels:
    """``output`` when it is of the size that the card promises, else ``BackendError``."""
    batch, _, height, width = pixels.shape
    expected = (batch, 3, height * card.scale, width * card.scale)
    if output.shape != expected:
        raise BackendError(
            f"{card.name} gave an output of shape {output.shape}, its card promises {expected}; "
            "export the model again"
        )
    return output


def cannot_load(runtime: str, path: Path, error: BaseException) -> WeightsError:
    """What is said when a runtime refuses a file."""
    return WeightsError(
        f"{path} is no network that {runtime} can load ({first_line(error)}); "
        "export it again or type: pip install --force-reinstall loopsr"
    )


def cannot_run(runtime: str, card: ModelCard, pixels: Pixels, error: BaseException) -> BackendError:
    """What is said when a network fails on an input."""
    height, width = pixels.shape[-2:]
    return BackendError(
        f"{runtime} cannot run {card.name} on {width}x{height} pixels ({first_line(error)}); "
        "pass a smaller --tile or --max-memory"
    )

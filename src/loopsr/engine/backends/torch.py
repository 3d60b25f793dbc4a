"""PyTorch: for validation while training and for `eval`; needs the extra `train`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.card import ModelCard
from loopsr.errors import BackendError, LoopsrError, MissingExtraError, WeightsError


class Torch:
    """A network in evaluation mode; keeps no state between calls, so threads may share it."""

    name = "torch"

    def __init__(self, network: Any, card: ModelCard, *, iters: int | None = None) -> None:
        """Wrap a ``loopsr.models.Network``, a ``torch.nn.Module``; puts it in eval mode."""
        self._torch: Any = importlib.import_module("torch")
        self._network = network.eval()
        self._card = card
        self._iters = iters

    def run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Upscale float32 b3hw in [0, 1] to b3(sh)(sw), not clamped. Raises ``BackendError``."""
        torch = self._torch
        try:
            with torch.inference_mode():
                weight = next(self._network.parameters())
                x = torch.from_numpy(np.ascontiguousarray(pixels)).to(weight.device)
                y = self._network(x, iters=self._iters).float().cpu()
        except RuntimeError as error:
            raise BackendError(
                f"torch cannot run {self._card.name} on an input of shape {pixels.shape} "
                f"({str(error).splitlines()[0][:200]}); pass a smaller --tile or --max-memory"
            ) from error
        output: NDArray[np.float32] = y.numpy()
        return output


def open_backend(card: ModelCard, path: Path, *, threads: int, iters: int | None = None) -> Torch:
    """Build the network that the card names and load its safetensors."""
    try:
        torch: Any = importlib.import_module("torch")
        load: Any = importlib.import_module("safetensors.torch").load_file
        models: Any = importlib.import_module("loopsr.models")
    except ImportError as error:
        raise MissingExtraError("the torch backend", "train") from error
    # A setting of the process, not of the network: torch knows no other.
    torch.set_num_threads(threads)
    try:
        network = models.create(card.network, **card.config)
        network.load_state_dict(load(str(path)))
    except LoopsrError:
        raise
    except Exception as error:
        raise WeightsError(
            f"{path} does not fit the network {card.network!r} of its card "
            f"({str(error).splitlines()[0][:200]}); export it again"
        ) from error
    return Torch(network, card, iters=iters)

"""PyTorch: for validation while training, for `eval`, and for GPUs; needs the extra `train`.

Takes an NVIDIA GPU or Apple's when there is one. With LOOPSR_TORCH_COMPILE=1 in the environment the
network goes through `torch.compile`, which needs a C++ compiler and half a minute at first.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.card import ModelCard
from loopsr.engine.network import cannot_run, checked_output
from loopsr.errors import LoopsrError, MissingExtraError, WeightsError, first_line

_COMPILE = "LOOPSR_TORCH_COMPILE"


class Torch:
    """A network in evaluation mode; keeps no state between calls, so threads may share it."""

    name = "torch"

    def __init__(
        self, network: Any, card: ModelCard, *, iters: int | None = None, bfloat16: bool = False
    ) -> None:
        """Wrap a ``loopsr.models.Network``, a ``torch.nn.Module``; puts it in eval mode."""
        self._torch: Any = importlib.import_module("torch")
        self._network = network.eval()
        self._card = card
        self._iters = iters
        self._bfloat16 = bfloat16

    def run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Upscale float32 b3hw in [0, 1] to b3(sh)(sw), not clamped. Raises ``BackendError``."""
        torch = self._torch
        device = next(self._network.parameters()).device
        # Convolutions in bfloat16; what is interpolated, and the sum, stay in float32.
        half = torch.autocast(device.type, torch.bfloat16) if self._bfloat16 else _nothing()
        try:
            with torch.inference_mode(), half:
                x = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)
                x = x.contiguous(memory_format=torch.channels_last)
                y = self._network(x, iters=self._iters).float().contiguous().cpu()
        except RuntimeError as error:
            raise cannot_run(self.name, self._card, pixels, error) from error
        output: NDArray[np.float32] = y.numpy()
        return checked_output(output, pixels, self._card)


def open_backend(
    card: ModelCard, path: Path, *, threads: int, iters: int | None = None, bfloat16: bool = False
) -> Torch:
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
            f"({first_line(error)}); export it again"
        ) from error
    network = network.to(_device(torch), memory_format=torch.channels_last)
    if os.environ.get(_COMPILE) == "1":
        network.compile(dynamic=True)
    return Torch(network, card, iters=iters, bfloat16=bfloat16)


def _device(torch: Any) -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _nothing() -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()

"""The runtimes that can run a network: one file each, and this list of strings.

A backend is imported on first use only, so that a user who upscales needs no torch.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from loopsr.card import ModelCard
from loopsr.engine.machine import cores
from loopsr.errors import UnknownNameError, UsageError

BACKENDS: dict[str, str] = {
    "onnxruntime": "loopsr.engine.backends.onnxruntime:open_backend",
    "torch": "loopsr.engine.backends.torch:open_backend",
}
# Which of a model's two files a backend reads.
FILES: dict[str, str] = {"onnxruntime": "onnx", "torch": "safetensors"}


class Backend(Protocol):
    """A loaded network; ``run`` may be called from several threads at once."""

    name: str

    def run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Upscale float32 b3hw in [0, 1] to b3(sh)(sw), not clamped. Raises ``BackendError``."""
        ...


def open_backend(
    name: str, card: ModelCard, path: Path, *, threads: int | None = None, iters: int | None = None
) -> Backend:
    """Load the network of ``path`` with the runtime ``name``.

    ``threads`` None takes the cores that this process really has; ``iters`` stops the loop early,
    1 to ``card.iters``, where the runtime can. Raises ``UnknownNameError``, ``UsageError``,
    ``MissingExtraError``, ``WeightsError`` for a file the runtime cannot load.
    """
    if name not in BACKENDS:
        raise UnknownNameError("backend", name, BACKENDS)
    if threads is not None and threads < 1:
        raise UsageError(f"threads is {threads}, at least 1 was expected; or leave it out")
    if iters is not None and not 1 <= iters <= (card.iters or 0):
        raise UsageError(
            f"iters is {iters}, {card.name} runs 1 to {card.iters or 0}; leave it out for all"
        )
    module, _, attribute = BACKENDS[name].partition(":")
    opener = getattr(importlib.import_module(module), attribute)
    return cast(Backend, opener(card, path, threads=threads or cores(), iters=iters))

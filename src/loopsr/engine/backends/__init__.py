"""The runtimes that can run a network: one file each, and this list of strings.

A backend is imported on first use only, so that a user who upscales needs no torch.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from loopsr.card import ModelCard
from loopsr.engine.machine import cores
from loopsr.errors import UnknownNameError, UsageError

BACKENDS: dict[str, str] = {
    "onnxruntime": "loopsr.engine.backends.onnxruntime:open_backend",
    "openvino": "loopsr.engine.backends.openvino:open_backend",
    "ncnn": "loopsr.engine.backends.ncnn:open_backend",
    "torch": "loopsr.engine.backends.torch:open_backend",
}
# Which of a model's two files a backend reads.
FILES: dict[str, str] = {
    "onnxruntime": "onnx",
    "openvino": "onnx",
    "ncnn": "onnx",
    "torch": "safetensors",
}
# What a backend can compute in, its usual one first. For "int8" it reads another file, the model's
# twin (see ``loopsr.weights.catalogue.int8_name``), whose other layers compute in float32.
PRECISIONS: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("float32", "int8"),
    "openvino": ("float32", "bfloat16", "int8"),
    "ncnn": ("float32",),
    "torch": ("float32", "bfloat16"),
}
# Which backends can stop after a step and go on from there with a part of the picture.
STEPWISE: dict[str, str] = {
    "onnxruntime": "loopsr.engine.backends.onnxruntime:open_stepwise",
}
# The extra of this package that installs a backend; the first one is always there.
EXTRAS: dict[str, str] = {"openvino": "openvino", "ncnn": "ncnn", "torch": "train"}


class Backend(Protocol):
    """A loaded network; ``run`` may be called from several threads at once."""

    name: str

    def run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Upscale float32 b3hw in [0, 1] to b3(sh)(sw), not clamped. Raises ``BackendError``."""
        ...


# What a step leaves for the next ones: named features, float32 (1, channels, h, w) each.
State = dict[str, NDArray[np.float32]]
Read = Callable[[str], NDArray[np.float32]]  # a value of the state, by its name


class Stepwise(Protocol):
    """A loaded network that is cut after each of its stops; safe to share by threads."""

    name: str

    def go_on(self, read: Read, stop: int) -> tuple[NDArray[np.float32], State]:
        """From the stop before ``stop`` to it: the picture there, as by ``Backend.run``, and what
        is new in the state, for the stops after it.

        What it needs is asked for by name, and may be that of a part of the picture; before any
        step it is the input, as ``lr``.
        """
        ...


def installed() -> tuple[str, ...]:
    """Names of the backends whose package is here, without importing it."""
    return tuple(name for name in BACKENDS if importlib.util.find_spec(name) is not None)


def open_backend(
    name: str,
    card: ModelCard,
    path: Path,
    *,
    threads: int | None = None,
    iters: int | None = None,
    precision: str = "float32",
) -> Backend:
    """Load the network of ``path`` with the runtime ``name``.

    ``threads`` None takes the cores that this process really has; ``iters`` stops the loop early,
    1 to ``card.iters``; ``precision`` is what the network computes in: "float32", "bfloat16" or,
    when ``path`` is a file of 8-bit integers, "int8".
    Raises ``UnknownNameError``, ``UsageError``, ``MissingExtraError``, ``WeightsError`` for a file
    that the runtime cannot load.
    """
    if name not in BACKENDS:
        raise UnknownNameError("backend", name, BACKENDS)
    if threads is not None and threads < 1:
        raise UsageError(f"threads is {threads}, at least 1 was expected; or leave it out")
    check_iters(card, iters)
    check_precision(name, precision)
    module, _, attribute = BACKENDS[name].partition(":")
    opener = getattr(importlib.import_module(module), attribute)
    backend = opener(
        card, path, threads=threads or cores(), iters=iters, bfloat16=precision == "bfloat16"
    )
    return cast(Backend, backend)


def open_stepwise(
    name: str, card: ModelCard, path: Path, *, stops: tuple[int, ...], threads: int | None = None
) -> Stepwise:
    """Load a network with a runtime of ``STEPWISE``, cut after each of ``stops``.

    Raises as ``open_backend``."""
    module, _, attribute = STEPWISE[name].partition(":")
    opener = getattr(importlib.import_module(module), attribute)
    return cast(Stepwise, opener(card, path, stops=stops, threads=threads or cores()))


def check_iters(card: ModelCard, iters: int | None) -> None:
    """Raise ``UsageError`` for a number of steps that a network does not have."""
    if iters is not None and not 1 <= iters <= (card.iters or 0):
        raise UsageError(
            f"iters is {iters}, {card.name} runs 1 to {card.iters or 0}; leave it out for all"
        )


def check_precision(name: str, precision: str) -> None:
    """Raise ``UsageError`` when a backend cannot compute in ``precision``."""
    if precision in PRECISIONS[name]:
        return
    others = [other for other, known in PRECISIONS.items() if precision in known]
    if not others:
        known = sorted({p for each in PRECISIONS.values() for p in each})
        raise UnknownNameError("precision", precision, known)
    raise UsageError(
        f"{name} does not compute in {precision} but in {' or '.join(PRECISIONS[name])}; "
        f"pass --backend {' or '.join(others)}"
    )

"""Any upscaler by its name or file: interpolations, our networks, and those of other projects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loopsr.engine.backends import Backend, open_backend
from loopsr.engine.foreign.network import to_levels, upscale
from loopsr.engine.machine import cores
from loopsr.engine.upscaler import Upscaler
from loopsr.errors import UsageError, WeightsError
from loopsr.ops.resize import KERNELS, resize
from loopsr.weights import catalogue

Pixels = NDArray[np.uint8]
CHECKPOINTS = (".safetensors", ".pth", ".pt", ".ckpt")


@dataclass(frozen=True, kw_only=True)
class OpenModel:
    """An upscaler that is ready to run, and what is known of it.

    ``kind`` is "interpolation", "loopsr", "onnx" or "spandrel"; ``channels`` what its network sees,
    3 (RGB) or 1 (luma, its colours are bicubic); ``parameters`` None for an interpolation. Calling
    it upscales (h, w, 3) uint8 RGB by ``scale``.
    """

    name: str
    kind: str
    scale: int
    upscale: Callable[[Pixels], Pixels] = field(repr=False)
    channels: int = 3
    parameters: int | None = None
    architecture: str = ""
    # The bare network: float32 (b, channels, h, w) in [0, 1]. None for an interpolation.
    network: Callable[[], Backend] | None = field(default=None, repr=False)

    def __call__(self, image: Pixels) -> Pixels:
        """Upscale (h, w, 3) uint8 to (scale h, scale w, 3) uint8."""
        return self.upscale(image)


def open_model(
    model: str | Path, *, scale: int | None = None, threads: int | None = None
) -> OpenModel:
    """Open an upscaler.

    ``model`` is ``bicubic`` or ``lanczos``; a name of ``loopsr models``, with or without its -xN
    (``loop`` with scale 4 is ``loop-x4``); or a file: ONNX, or a checkpoint (.safetensors, .pth)
    that the package spandrel can load. ``scale`` None takes the model's own. Raises ``UsageError``
    for a scale that the model does not have, ``UnknownNameError``, ``WeightsError``,
    ``MissingExtraError``.
    """
    threads = threads or cores()
    if isinstance(model, str) and model in KERNELS:
        return _interpolation(model, scale)
    if catalogue.is_path(model) or Path(model).suffix in CHECKPOINTS:
        path = Path(model)
        if not catalogue.holds_card(path):
            return _foreign(path, scale, threads)
        model = path
    else:
        model = _full_name(str(model), scale)
    return _ours(model, scale, threads)


def _interpolation(kernel: str, scale: int | None) -> OpenModel:
    if scale is None:
        raise UsageError(f"{kernel} has no scale of its own; pass a scale")

    def run(image: Pixels) -> Pixels:
        # Rounded once, at the end, as the output of a network is.
        return to_levels(resize(image.astype(np.float64), scale=scale, kernel=kernel))

    return OpenModel(name=kernel, kind="interpolation", scale=scale, upscale=run)


def _full_name(name: str, scale: int | None) -> str:
    """``loop`` and ``loop.photo`` with a scale as ``loop-x4`` and ``loop-x4.photo``."""
    known = catalogue.names()
    start, dot, tag = name.partition(".")
    full = f"{start}-x{scale}{dot}{tag}"
    if name in known or scale is None or full not in known:
        return name
    return full


def _ours(model: str | Path, scale: int | None, threads: int) -> OpenModel:
    upscaler = Upscaler(model, threads=threads)
    kind = "safetensors" if str(model).endswith(".safetensors") else "onnx"
    card, path = catalogue.find(model, kind=kind)
    factor = scale or card.scale
    backend = "torch" if kind == "safetensors" else "onnxruntime"

    def run(image: Pixels) -> Pixels:
        return upscaler(image, scale=factor)

    return OpenModel(
        name=card.name,
        kind="loopsr",
        scale=factor,
        upscale=run,
        parameters=card.parameters,
        architecture=card.network,
        network=lambda: open_backend(backend, card, path, threads=threads),
    )


def _foreign(path: Path, scale: int | None, threads: int) -> OpenModel:
    if path.suffix == ".onnx":
        from loopsr.engine.foreign.onnx import open_onnx

        kind, architecture = "onnx", ""
        network, parameters = open_onnx(path, threads=threads)
    elif path.suffix in CHECKPOINTS:
        from loopsr.engine.foreign.spandrel import open_checkpoint

        kind = "spandrel"
        network, parameters, architecture = open_checkpoint(path, threads=threads)
    else:
        raise WeightsError(
            f"{path} is no weight file by its name; pass one that ends in .onnx, "
            f"{', '.join(CHECKPOINTS)}"
        )
    if scale not in (None, network.scale):
        raise UsageError(
            f"{path} upscales x{network.scale}, x{scale} was asked for; pass a network of x{scale}"
        )
    return OpenModel(
        name=network.name,
        kind=kind,
        scale=network.scale,
        upscale=lambda image: upscale(network, image),
        channels=network.channels,
        parameters=parameters,
        architecture=architecture,
        network=lambda: network,
    )

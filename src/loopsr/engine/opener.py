"""Any upscaler by its name or file: interpolations, our networks, and those of other projects."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loopsr.card import ModelCard
from loopsr.engine.backends import FILES, Backend, open_backend
from loopsr.engine.ensemble import SelfEnsemble
from loopsr.engine.foreign.network import to_levels, upscale
from loopsr.engine.machine import cores
from loopsr.engine.networks import AUTO
from loopsr.engine.quality import BEST
from loopsr.engine.upscaler import Upscaler
from loopsr.errors import UsageError, WeightsError
from loopsr.ops.resize import KERNELS, resize
from loopsr.weights import catalogue

Pixels = NDArray[np.uint8]
CHECKPOINTS = (".safetensors", ".pth", ".pt", ".ckpt")
_INT8 = "int8"


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
    backend: str = ""  # that ``network`` runs on
    file: Path | None = None  # that ``network`` reads
    card: ModelCard | None = None  # of ours, stopped after the steps that were asked for

    def __call__(self, image: Pixels) -> Pixels:
        """Upscale (h, w, 3) uint8 to (scale h, scale w, 3) uint8."""
        return self.upscale(image)


@dataclass(frozen=True, kw_only=True)
class _How:
    """How a network is to run; None is the model's own way."""

    threads: int
    backend: str | None
    precision: str | None
    iters: int | None
    self_ensemble: bool


def open_model(
    model: str | Path,
    *,
    scale: int | None = None,
    threads: int | None = None,
    backend: str | None = None,
    precision: str | None = None,
    iters: int | None = None,
    self_ensemble: bool = False,
) -> OpenModel:
    """Open an upscaler.

    ``model`` is ``bicubic`` or ``lanczos``; a name of ``loopsr models``, with or without its -xN
    (``loop`` with scale 4 is ``loop-x4``); or a file: ONNX, or a checkpoint (.safetensors, .pth)
    that the package spandrel can load. ``scale`` None takes the model's own. ``backend``,
    ``precision`` (with "int8"), ``iters`` and ``self_ensemble`` say how a network runs, as for
    ``Upscaler``; the name of a self-ensemble ends in +, as in papers. Files of others run on
    onnxruntime or openvino, checkpoints on torch; an interpolation is the same either way. Raises
    ``UsageError`` for a scale, or a way to run, that the model does not have, ``UnknownNameError``,
    ``WeightsError``, ``MissingExtraError``.
    """
    how = _How(
        threads=threads or cores(),
        backend=backend,
        precision=precision,
        iters=iters,
        self_ensemble=self_ensemble,
    )
    if isinstance(model, str) and model in KERNELS:
        return _interpolation(model, scale)
    if is_file(model):
        path = Path(model)
        if not catalogue.holds_card(path):
            return _foreign(path, scale, how)
        model = path
    else:
        model = full_name(str(model), scale)
    return _ours(model, scale, how)


def numbered(names: Iterable[str]) -> list[str]:
    """Names as they are shown side by side: one that is taken gets a number, ``a (2)``."""
    shown: list[str] = []
    for name in names:
        count, free = 1, name
        while free in shown:
            count += 1
            free = f"{name} ({count})"
        shown.append(free)
    return shown


def is_file(model: str | Path) -> bool:
    """Whether a model is given as a file, ours or another's, rather than by name."""
    return catalogue.is_path(model) or Path(model).suffix in CHECKPOINTS


def _interpolation(kernel: str, scale: int | None) -> OpenModel:
    if scale is None:
        raise UsageError(f"{kernel} has no scale of its own; pass a scale")

    def run(image: Pixels) -> Pixels:
        # Rounded once, at the end, as the output of a network is.
        return to_levels(resize(image.astype(np.float64), scale=scale, kernel=kernel))

    return OpenModel(name=kernel, kind="interpolation", scale=scale, upscale=run)


def full_name(name: str, scale: int | None) -> str:
    """``loop`` and ``loop.photo`` with a scale as ``loop-x4`` and ``loop-x4.photo``."""
    known = catalogue.names()
    start, dot, tag = name.partition(".")
    full = f"{start}-x{scale}{dot}{tag}"
    if name in known or scale is None or full not in known:
        return name
    return full


def _ours(model: str | Path, scale: int | None, how: _How) -> OpenModel:
    backend = how.backend or ("torch" if str(model).endswith(".safetensors") else "onnxruntime")
    int8 = how.precision == _INT8
    name = catalogue.int8_name(str(model)) if int8 and not catalogue.is_path(model) else model
    card, path = catalogue.find(name, kind=FILES[backend])
    # What is measured is this file, so nothing shorter is taken unasked, however fast.
    precision = how.precision or (_INT8 if catalogue.is_int8(card.name) else "float32")
    upscaler = Upscaler(
        model,
        threads=how.threads,
        backend=how.backend or AUTO,
        precision=precision,
        # A network is measured as it is, not with the steps that each part of a picture needs.
        quality=None if how.iters else BEST,
        iters=how.iters,
        self_ensemble=how.self_ensemble,
    )
    factor = scale or card.scale

    def run(image: Pixels) -> Pixels:
        return upscaler(image, scale=factor)

    def network() -> Backend:
        opened = open_backend(
            backend, card, path, threads=how.threads, iters=how.iters, precision=precision
        )
        return SelfEnsemble(opened) if how.self_ensemble else opened

    return OpenModel(
        name=_shown(card.name, how),
        kind="loopsr",
        scale=factor,
        upscale=run,
        parameters=card.parameters,
        architecture=card.network,
        network=network,
        backend=backend,
        file=path,
        card=card.stopped_after(how.iters),
    )


def _shown(name: str, how: _How) -> str:
    return f"{name}+" if how.self_ensemble else name


def _foreign(path: Path, scale: int | None, how: _How) -> OpenModel:
    if how.iters is not None:
        raise UsageError(f"{path} has no steps that could be counted; leave iters out")
    if path.suffix == ".onnx":
        from loopsr.engine.foreign.onnx import open_onnx

        kind, architecture, backend = "onnx", "", how.backend or "onnxruntime"
        network, parameters = open_onnx(
            path, threads=how.threads, backend=backend, precision=how.precision or "float32"
        )
    elif path.suffix in CHECKPOINTS:
        from loopsr.engine.foreign.spandrel import open_checkpoint

        kind, backend = "spandrel", "torch"
        if how.backend not in (None, "torch") or how.precision not in (None, "float32"):
            raise UsageError(f"{path} is a checkpoint, which runs on torch in float32 only")
        network, parameters, architecture = open_checkpoint(path, threads=how.threads)
    else:
        raise WeightsError(
            f"{path} is no weight file by its name; pass one that ends in .onnx, "
            f"{', '.join(CHECKPOINTS)}"
        )
    if scale not in (None, network.scale):
        raise UsageError(
            f"{path} upscales x{network.scale}, x{scale} was asked for; pass a network of x{scale}"
        )
    if how.self_ensemble:
        # Sides that must be a multiple are padded in every turn, by the network within.
        network = replace(network, forward=SelfEnsemble(network).run, multiple_of=1, peak=1)
    return OpenModel(
        name=_shown(network.name, how),
        kind=kind,
        scale=network.scale,
        upscale=lambda image: upscale(network, image),
        channels=network.channels,
        parameters=parameters,
        architecture=architecture,
        network=lambda: network,
        backend=backend,
        file=path,
    )

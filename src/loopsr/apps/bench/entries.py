"""What is measured: one entry a model, number of steps, backend and precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from loopsr.engine.backends import BACKENDS, PRECISIONS, installed
from loopsr.engine.opener import OpenModel, full_name, is_file, open_model
from loopsr.errors import UnknownNameError, UsageError
from loopsr.ops.resize import KERNELS
from loopsr.weights import catalogue

ALL = "all"
DEFAULT_SCALE = 4
_FOREIGN = {"onnxruntime": ("float32",), "openvino": ("float32", "bfloat16")}
_KNOWN_PRECISIONS = ("float32", "bfloat16", "int8")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row to be. ``model`` is what ``open_model`` takes; ``backend`` and ``precision`` are
    empty for an interpolation, ``iters`` is None for all steps. JSON-able by ``asdict``."""

    model: str
    scale: int
    backend: str = ""
    precision: str = ""
    iters: int | None = None

    @property
    def label(self) -> str:
        """What tells it from its neighbours: the model and, where cut short, its steps."""
        name = Path(self.model).stem if is_file(self.model) else self.model
        return name if self.iters is None else f"{name}@{self.iters}"

    def open(self, threads: int) -> OpenModel:
        """The upscaler. Raises as ``open_model`` does."""
        return open_model(
            self.model,
            scale=self.scale,
            threads=threads,
            backend=self.backend or None,
            precision=self.precision or None,
            iters=self.iters,
        )


def make_entries(
    models: Sequence[str],
    *,
    scale: int | None,
    backends: Sequence[str],
    precisions: Sequence[str],
    iters: Sequence[int] = (),
) -> list[Entry]:
    """All entries of a run, interpolations first.

    Without names, all networks of the project at the scale and both interpolations are taken;
    files are added to them. ``scale`` None takes that of the first network that is given, else 4.
    ``backends`` and ``precisions`` may hold "all", which stands for what can run here; a pair that
    does not exist is left out. ``iters`` gives a row each to networks with so many steps. Raises
    ``UsageError``, ``UnknownNameError``, ``WeightsError``.
    """
    backends = _backends(backends)
    precisions = _precisions(precisions)
    files = [model for model in models if is_file(model)]
    names = [model for model in models if not is_file(model)]
    scale = scale or _scale_of(models)
    names = names or [*KERNELS, *_networks(scale)]
    found = [Entry(model=name, scale=scale) for name in names if name in KERNELS]
    for model in [*(name for name in names if name not in KERNELS), *files]:
        found += _of_model(model, scale, backends, precisions)
    if not found:
        raise UsageError(
            f"nothing runs on {' or '.join(backends)} in {' or '.join(precisions)}; pass "
            "--backend all or --precision all"
        )
    found = list(dict.fromkeys(found))
    return _with_steps(found, iters) if iters else found


def runner(model: OpenModel, *, size: tuple[int, int]) -> Callable[[], object]:
    """A function that upscales a picture of ``size`` (width, height) once, ready to be timed.

    A network is run bare, from float32 samples to float32 samples. An interpolation is the exact
    one that is scored, from 8 bits to 8 bits, on one thread.
    """
    width, height = size
    rng = np.random.default_rng(0)
    if model.network is None:
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        return lambda: model(pixels)
    backend = model.network()
    samples = rng.random((1, model.channels, height, width), dtype=np.float32)
    return lambda: backend.run(samples)


def _backends(names: Sequence[str]) -> list[str]:
    for name in names:
        if name not in (ALL, *BACKENDS):
            raise UnknownNameError("backend", name, [ALL, *BACKENDS])
    return list(installed()) if ALL in names else list(dict.fromkeys(names))


def _precisions(names: Sequence[str]) -> list[str]:
    for name in names:
        if name not in (ALL, *_KNOWN_PRECISIONS):
            raise UnknownNameError("precision", name, [ALL, *_KNOWN_PRECISIONS])
    return list(_KNOWN_PRECISIONS) if ALL in names else list(dict.fromkeys(names))


def _scale_of(models: Sequence[str]) -> int:
    """The scale of the first network that says one."""
    for model in models:
        if is_file(model):
            return open_model(model).scale
        if model not in KERNELS and model in catalogue.names():
            return catalogue.card(model).scale
    return DEFAULT_SCALE


def _networks(scale: int) -> list[str]:
    return [
        name
        for name in catalogue.names()
        if not catalogue.is_int8(name) and catalogue.card(name).scale == scale
    ]


def _of_model(
    model: str, scale: int, backends: Sequence[str], precisions: Sequence[str]
) -> list[Entry]:
    """An entry for each way in which this model can run."""
    if not is_file(model):
        model = full_name(model, scale)
        catalogue.card(model)  # raises for a name that is not there
    ways = _ways(model)
    pairs = [(b, p) for b in backends for p in precisions if p in ways.get(b, ())]
    if not pairs and (is_file(model) or catalogue.is_int8(model)):
        # It can run in its own way only, which is better than no row; the row says so.
        own = next((backend for backend in backends if backend in ways), next(iter(ways)))
        pairs = [(own, ways[own][0])]
    return [Entry(model=model, scale=scale, backend=b, precision=p) for b, p in pairs]


def _ways(model: str) -> dict[str, tuple[str, ...]]:
    """backend -> precisions in which it can run a model, by the model's kind."""
    integers: dict[str, tuple[str, ...]] = {
        name: ("int8",) for name, known in PRECISIONS.items() if "int8" in known
    }
    floats = {n: tuple(p for p in known if p != "int8") for n, known in PRECISIONS.items()}
    if not is_file(model):
        if catalogue.is_int8(model):
            return integers
        return PRECISIONS if model + catalogue.INT8_TAG in catalogue.names() else floats
    path = Path(model)
    ours = catalogue.holds_card(path)
    if path.suffix != ".onnx":
        return {"torch": PRECISIONS["torch"] if ours else ("float32",)}
    if not ours:
        return _FOREIGN
    if catalogue.is_int8(catalogue.card(model).name):
        return integers
    return {name: known for name, known in floats.items() if name != "torch"}


def _with_steps(entries: Sequence[Entry], iters: Sequence[int]) -> list[Entry]:
    """Each network with steps once for every number of them that it has, others once."""
    wanted = sorted(set(iters))
    if wanted[0] < 1:
        raise UsageError(f"iters is {wanted[0]}, 1 or more was expected")
    found, most = [], 0
    for entry in entries:
        steps = _steps(entry)
        most = max(most, steps)
        if steps < 2:
            found.append(entry)
            continue
        found += [replace(entry, iters=n if n < steps else None) for n in wanted if n <= steps]
    if wanted[0] > most:
        raise UsageError(
            f"no network here has {wanted[0]} steps, the most is {most}; pass fewer to --iters"
        )
    return found


def _steps(entry: Entry) -> int:
    if not entry.backend or (is_file(entry.model) and not catalogue.holds_card(Path(entry.model))):
        return 0
    return catalogue.card(entry.model).iters or 0

"""Checkpoints: one safetensors file that holds a whole run, written atomically. No pickle.

Tensors: ``net.*``, ``ema.*``, ``warm.*`` (what the run began from, if that has a share in what
ships), ``optim.I.P.KEY`` (optimiser, parameter, key) and ``rng``. The rest is JSON in the header.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from loopsr.errors import TrainingError, WeightsError, first_line
from loopsr.layers.fake_quant import FakeQuantised
from loopsr.models import create
from loopsr.train import average
from loopsr.train.recipe import Recipe
from loopsr.weights import catalogue

_STATE = "loopsr.training"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file so that a kill at any moment leaves the old file or the new one.

    So does a full disk, which raises ``TrainingError``.
    """
    clean = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    part = path.with_name(path.name + ".part")
    try:
        save_file(clean, part, metadata=dict(metadata))
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise TrainingError(
            f"{path} cannot be written ({error}); make room or give rights, then repeat the "
            "command: it goes on from the last checkpoint"
        ) from error


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file. Raises ``WeightsError``."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read ({error}); fetch or write it again") from error


def save_run(
    path: Path,
    *,
    network: nn.Module,
    ema: Mapping[str, Tensor],
    warm: Mapping[str, Tensor],
    optimisers: Sequence[torch.optim.Optimizer],
    state: Mapping[str, Any],
) -> None:
    """Save everything that the next step depends on; ``state`` is JSON-able."""
    tensors = {f"net.{key}": value for key, value in network.state_dict().items()}
    tensors |= {f"ema.{key}": value for key, value in ema.items()}
    tensors |= {f"warm.{key}": value for key, value in warm.items()}
    for i, optimiser in enumerate(optimisers):
        for index, entries in optimiser.state_dict()["state"].items():
            tensors |= {f"optim.{i}.{index}.{key}": value for key, value in entries.items()}
    tensors["rng"] = torch.get_rng_state()
    save_tensors(path, tensors, {_STATE: json.dumps(state)})


def load_run(
    path: Path,
    *,
    network: nn.Module,
    ema: Mapping[str, Tensor],
    warm: Mapping[str, Tensor],
    optimisers: Sequence[torch.optim.Optimizer],
) -> dict[str, Any]:
    """Restore what ``save_run`` saved, in place; returns ``state``.

    Raises ``TrainingError`` when the file belongs to another network.
    """
    tensors, metadata = load_tensors(path)
    try:
        network.load_state_dict(_below(tensors, "net."))
        for key, value in _below(tensors, "ema.").items():
            ema[key].copy_(value)
        for key, value in _below(tensors, "warm.").items():
            warm[key].copy_(value)
        for i, optimiser in enumerate(optimisers):
            _restore_optimiser(optimiser, _below(tensors, f"optim.{i}."))
        torch.set_rng_state(tensors["rng"])
        state: dict[str, Any] = json.loads(metadata[_STATE])
    except (KeyError, ValueError, RuntimeError) as error:
        raise TrainingError(
            f"{path} does not fit this run ({first_line(error)}); "
            "pass another --out folder or delete it"
        ) from error
    return state


def _restore_optimiser(optimiser: torch.optim.Optimizer, flat: Mapping[str, Tensor]) -> None:
    packed = optimiser.state_dict()
    packed["state"] = {}
    for name, value in flat.items():
        index, _, key = name.partition(".")
        packed["state"].setdefault(int(index), {})[key] = value
    optimiser.load_state_dict(packed)
    # Moments are stored contiguous; the parameter's own layout keeps the arithmetic as it was.
    for parameter, entries in optimiser.state.items():
        for key, value in entries.items():
            if value.shape == parameter.shape:
                entries[key] = torch.empty_like(parameter).copy_(value)


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def read_state(path: Path) -> dict[str, Any]:
    """Only the JSON state of a checkpoint. Raises ``WeightsError``."""
    return _read(path)[1]


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors, metadata = load_tensors(path)
    if _STATE not in metadata:
        raise WeightsError(f"{path} is no checkpoint of a training run; pass another --out folder")
    return tensors, json.loads(metadata[_STATE])


def averaged_network(path: Path) -> tuple[nn.Module, Recipe, dict[str, Any]]:
    """The network of a checkpoint with the weights that ship, its recipe and its state.

    Raises ``WeightsError``.
    """
    tensors, state = _read(path)
    recipe = Recipe.from_json(state["recipe"])
    network = create(recipe.network, scale=recipe.scale, **recipe.network_config)
    if recipe.quantize:
        network = FakeQuantised(network)
    ema, warm = _below(tensors, "ema."), _below(tensors, "warm.")
    network.load_state_dict(average.shipped(ema, warm, recipe.warm_share))
    return network.eval(), recipe, state


def warm_start(network: nn.Module, source: str) -> list[str]:
    """Copy all tensors of the same name and shape from weights; returns the names that stay fresh.

    ``source`` is a path ending in .safetensors or the name of shipped weights; a checkpoint gives
    its averaged weights. Raises ``WeightsError`` when nothing fits.
    """
    path = Path(source) if catalogue.is_path(source) else catalogue.safetensors_path(source)
    tensors, metadata = load_tensors(path)
    if _STATE in metadata:
        tensors = _below(tensors, "ema.")
    own = network.state_dict()
    fitting = {}
    for key in own.keys() & tensors.keys():
        if tensors[key].shape == own[key].shape:
            fitting[key] = tensors[key]
    if not fitting:
        raise WeightsError(f"no tensor of {source!r} fits this network; start from other weights")
    network.load_state_dict(fitting, strict=False)
    return sorted(own.keys() - fitting.keys())

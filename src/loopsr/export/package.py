"""Everything that ships of one set of weights, written together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from loopsr.card import CARD_KEY, ModelCard
from loopsr.export.golden import write_golden
from loopsr.export.onnx import check_parity, export_onnx
from loopsr.models import count_parameters, macs_per_pixel
from loopsr.weights import catalogue


def make_card(network: nn.Module, *, name: str, kind: str, **facts: Any) -> ModelCard:
    """The card of a network: its own facts are measured, the rest (data, training...) is given."""
    net: Any = network.cpu()
    config = net.config()
    return ModelCard(
        name=name,
        network=kind,
        config=config,
        scale=net.scale,
        halo=net.halo,
        multiple_of=net.multiple_of,
        iters=net.iters,
        parameters=count_parameters(net),
        macs_per_pixel=macs_per_pixel(net),
        **facts,
    )


def write_package(network: nn.Module, folder: Path, *, card: ModelCard) -> dict[str, Path]:
    """Write weights, ONNX twin and golden tensors of ``network`` into ``folder``.

    Returns the path of each file. Raises ``TrainingError`` when the twin computes something else.
    """
    paths = {
        "safetensors": folder / f"{card.name}.safetensors",
        "onnx": folder / f"{card.name}.onnx",
        "golden": folder / "golden" / f"{card.name}.safetensors",
    }
    paths["golden"].parent.mkdir(parents=True, exist_ok=True)
    network = network.eval().cpu().float()
    export_onnx(network, paths["onnx"], card=card)
    check_parity(network, paths["onnx"])
    tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(tensors, paths["safetensors"], metadata={CARD_KEY: card.to_json()})
    write_golden(network, paths["golden"])
    return paths


def install(network: nn.Module, *, card: ModelCard) -> dict[str, Path]:
    """Like ``write_package``, into the package itself, and list it in the index of what ships."""
    paths = write_package(network, catalogue.FOLDER, card=card)
    _enter(catalogue.FOLDER / catalogue.INDEX, card.name, paths)
    return paths


def _enter(index: Path, name: str, paths: Mapping[str, Path]) -> None:
    """Put the hashes and sizes of one model into the index; the others stay as they are."""
    entries = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}
    content = {kind: paths[kind].read_bytes() for kind in ("safetensors", "onnx")}
    entry: dict[str, Any] = {k: hashlib.sha256(data).hexdigest() for k, data in content.items()}
    entry["bytes"] = {kind: len(data) for kind, data in content.items()}
    entries[name] = entry
    index.write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n", encoding="utf-8")

"""Everything that ships of one set of weights, written together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from loopsr.card import CARD_KEY, ModelCard
from loopsr.errors import LoopsrError, MissingExtraError
from loopsr.export.golden import read_golden, run_network, write_golden
from loopsr.export.onnx import check_parity, export_onnx
from loopsr.io.parts import write_whole
from loopsr.layers.fake_quant import FakeQuantised
from loopsr.models import count_parameters, create, macs_per_pixel
from loopsr.weights import catalogue


def make_card(network: nn.Module, *, name: str, kind: str, **facts: Any) -> ModelCard:
    """The card of a network: its own facts are measured, the rest (data, training...) is given.

    That of a ``FakeQuantised`` one has the tag of its kind in its name, whatever was given.
    """
    if isinstance(network, FakeQuantised) and not catalogue.is_int8(name):
        name += catalogue.INT8_TAG
    net: Any = network.plain() if isinstance(network, FakeQuantised) else network.cpu()
    config = net.config()
    halo_per_step, macs_per_step = _per_step(net, kind)
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
        halo_per_step=halo_per_step,
        macs_per_step=macs_per_step,
        **facts,
    )


def _per_step(network: Any, kind: str) -> tuple[int | None, int | None]:
    """What the last step adds to the halo and to the multiply-accumulates of an input pixel."""
    if network.iters < 2:
        return None, None
    shorter: Any = create(kind, **{**network.config(), "iters": network.iters - 1})
    halo = None if network.halo is None else network.halo - shorter.halo
    return halo, macs_per_pixel(network) - macs_per_pixel(shorter)


def write_package(network: nn.Module, folder: Path, *, card: ModelCard) -> dict[str, Path]:
    """Write weights, ONNX twin and golden tensors of ``network`` into ``folder``.

    Of a ``FakeQuantised`` network there are no safetensors: they would be the floats before
    rounding. What was measured of the same weights in ``folder`` stays on the card. Returns the
    path of each file. Raises ``TrainingError`` when the twin computes something else.
    """
    paths = {
        "safetensors": folder / f"{card.name}.safetensors",
        "onnx": folder / f"{card.name}.onnx",
        "golden": folder / "golden" / f"{card.name}.safetensors",
    }
    paths["golden"].parent.mkdir(parents=True, exist_ok=True)
    network = network.eval().cpu().float()
    if isinstance(network, FakeQuantised):
        network.shorten()
    _keep_measured(network, folder, card)
    export_onnx(network, paths["onnx"], card=card)
    check_parity(network, paths["onnx"])
    if isinstance(network, FakeQuantised):
        del paths["safetensors"]
    else:
        tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
        # Bytes, because save_file writes a file that only its owner may read.
        write_whole(paths["safetensors"], save(tensors, {CARD_KEY: card.to_json()}))
    write_golden(network, paths["golden"])
    return paths


def _keep_measured(network: nn.Module, folder: Path, card: ModelCard) -> None:
    """Take over scores, times and the rule of steps, if ``folder`` holds these very weights."""
    try:
        former = catalogue.read_card(folder / f"{card.name}.onnx")
        lr, sr = read_golden(folder / "golden" / f"{card.name}.safetensors")
    except (LoopsrError, OSError, SafetensorError):
        return
    if np.array_equal(sr, run_network(network, lr)):
        for now, before in (
            (card.scores, former.scores),
            (card.measured, former.measured),
            (card.steps, former.steps),
        ):
            now.update({key: value for key, value in before.items() if key not in now})


def rewrite_card(folder: Path, card: ModelCard) -> None:
    """Give the weight files of ``card.name`` in ``folder`` another card; the rest stays.

    Raises ``MissingExtraError``, ``WeightsError``. The index of what ships has to be written anew.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("writing into ONNX files", "train") from error
    path = folder / f"{card.name}.onnx"
    model = onnx.load_model_from_string(catalogue.read_bytes(path))
    kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != CARD_KEY]
    del model.metadata_props[:]
    for key, value in ((CARD_KEY, card.to_json()), *kept):
        model.metadata_props.add(key=key, value=value)
    write_whole(path, model.SerializeToString())
    path = folder / f"{card.name}.safetensors"
    if path.exists():  # none of networks of 8-bit integers
        tensors = load(catalogue.read_bytes(path))
        write_whole(path, save(tensors, {CARD_KEY: card.to_json()}))


def install(network: nn.Module, *, card: ModelCard) -> dict[str, Path]:
    """Like ``write_package``, into the package itself, and list it in the index of what ships."""
    paths = write_package(network, catalogue.FOLDER, card=card)
    catalogue.write_index(catalogue.FOLDER)
    return paths

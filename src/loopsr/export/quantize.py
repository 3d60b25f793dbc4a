"""A network in 8-bit integers without any training: grids for the features, nothing else.

    python -m loopsr.export.quantize loop-x2 --calibration FOLDER -o loop-x2.int8.onnx

All layers that are marked for it (``Conv``, ``ConvReLU``) are converted; the others, and the sums
between them, stay as they are (``loopsr.layers.fake_quant``). The grids are those with the least
square error on crops of the calibration pictures, which are reduced as in training. The recipes
``loop_int8_xN`` train on from there (docs/log.md).
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loopsr.card import ModelCard
from loopsr.data.degrade import pipeline
from loopsr.data.pairs import Sampler
from loopsr.data.sources import find_pictures, load_pairs
from loopsr.errors import LoopsrError, MissingExtraError, UsageError
from loopsr.weights import catalogue

if TYPE_CHECKING:
    from torch import Tensor

    from loopsr.layers.fake_quant import FakeQuantised

BATCHES, _BATCH = 16, 8
_PATCH = 48  # input pixels


def quantise(model: str | Path, target: Path, *, pictures: Sequence[str | Path]) -> ModelCard:
    """Write the int8 twin of ``model`` (a name or a safetensors file); returns its card.

    ``pictures`` are folders of sharp pictures. Raises ``UsageError``, ``WeightsError``,
    ``MissingExtraError``, ``TrainingError`` when the file computes something else.
    """
    if target.exists():
        raise UsageError(f"{target} exists; pass another -o or remove it")
    if not os.access(target.parent, os.W_OK):
        raise UsageError(f"{target.parent} is no folder to write into; pass another -o")
    if catalogue.is_path(model) and Path(model).suffix != ".safetensors":
        raise UsageError(f"{model} is no .safetensors file; pass that of the network, or its name")
    if catalogue.is_int8(str(model)):
        raise UsageError(f"{model} computes with integers already; pass the float32 model")
    card, source = catalogue.find(model, kind="safetensors")
    try:
        from loopsr.export.onnx import check_parity, export_onnx
    except ImportError as error:
        raise MissingExtraError("quantising", "train") from error
    network = _network(card, source)
    network.calibrate(_crops(card, pictures))
    network.eval().shorten()
    twin = dataclasses.replace(card, name=card.name + catalogue.INT8_TAG, scores={}, measured={})
    with tempfile.TemporaryDirectory(prefix="loopsr-", dir=target.parent) as folder:
        done = Path(folder) / "done.onnx"
        export_onnx(network, done, card=twin)
        check_parity(network, done)
        done.replace(target)
    return twin


def _network(card: ModelCard, source: Path) -> FakeQuantised:
    from safetensors.torch import load_file

    from loopsr.layers.fake_quant import FakeQuantised
    from loopsr.models import create

    network = create(card.network, **card.config)
    network.load_state_dict(load_file(source))
    return FakeQuantised(network)


def _crops(card: ModelCard, pictures: Sequence[str | Path]) -> Iterator[Tensor]:
    """Seeded inputs of the network: ``BATCHES`` of float32 (8, 3, 48, 48) in [0, 1]."""
    import torch

    steps = pipeline(card.degradation)
    pairs = load_pairs(find_pictures(pictures), scale=card.scale, steps=steps)
    sampler = Sampler(pairs, batch=_BATCH, patch=_PATCH, seed=0)
    for _ in range(BATCHES):
        lr, _ = sampler.draw()
        yield torch.from_numpy(lr).permute(0, 3, 1, 2).float() / 255


def main(argv: Sequence[str] | None = None) -> int:
    """Quantise one model; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m loopsr.export.quantize", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("model", help="name of `loopsr models`, or a .safetensors file")
    parser.add_argument("--calibration", nargs="+", required=True, help="folders of pictures")
    parser.add_argument("-o", "--output", type=Path, required=True, help="ONNX file to write")
    options = parser.parse_args(argv)
    try:
        card = quantise(options.model, options.output, pictures=options.calibration)
    except LoopsrError as error:
        print(f"loopsr: error: {error}", file=sys.stderr)
        return error.exit_code
    kilobytes = options.output.stat().st_size / 1000
    print(f"{card.name}: {kilobytes:.0f} kB in {options.output}; measure it with: loopsr eval")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A twin of an ONNX file whose convolutions compute with 8-bit integers.

    python -m loopsr.export.quantize loop-x2 --calibration FOLDER -o loop-x2.int8.onnx

Static, weights a channel, activations a tensor, in ONNX's QDQ form, which ONNX Runtime and OpenVINO
run on integer units. The ranges of the activations are those that occur on crops of the
calibration pictures, which are reduced as in training. Head and tail stay in float32: they have few
weights, and their rounding would show in the picture. Without training that knows of the rounding,
the networks lose more than a decibel (docs/log.md), so none such ships.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from loopsr.card import CARD_KEY, ModelCard
from loopsr.data.degrade import pipeline
from loopsr.data.pairs import Sampler
from loopsr.data.sources import find_pictures, load_pairs
from loopsr.errors import LoopsrError, MissingExtraError, UsageError
from loopsr.weights import catalogue

CROPS = 64
_PATCH = 48  # input pixels


def quantise(model: str | Path, target: Path, *, pictures: Sequence[str | Path]) -> ModelCard:
    """Write the int8 twin of ``model`` (a name or an ONNX file) to ``target``; returns its card.

    ``pictures`` are folders of sharp pictures. Raises ``UsageError``, ``WeightsError``,
    ``MissingExtraError``.
    """
    card, source = catalogue.find(model)
    if card.name.endswith(catalogue.INT8_TAG):
        raise UsageError(f"{card.name} computes with integers already; pass the float32 model")
    if target.exists():
        raise UsageError(f"{target} exists; pass another -o or remove it")
    try:
        import onnx
        from onnxruntime import quantization  # type: ignore[import-untyped]
        from onnxruntime.quantization.shape_inference import (  # type: ignore[import-untyped]
            quant_pre_process,
        )
    except ImportError as error:
        raise MissingExtraError("quantising", "train") from error
    twin = dataclasses.replace(card, name=card.name + catalogue.INT8_TAG, scores={})
    with tempfile.TemporaryDirectory(prefix="loopsr-", dir=target.parent) as folder:
        prepared, done = Path(folder) / "prepared.onnx", Path(folder) / "done.onnx"
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        convolutions = [n.name for n in onnx.load(prepared).graph.node if n.op_type == "Conv"]
        quantization.quantize_static(
            prepared,
            done,
            _reader(_crops(card, pictures), quantization.CalibrationDataReader),
            per_channel=True,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=[convolutions[0], convolutions[-1]],
            activation_type=quantization.QuantType.QUInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
            extra_options={"CalibMovingAverage": True},  # docs/log.md: the best of four
        )
        made = onnx.load(done)
        del made.metadata_props[:]
        made.metadata_props.add(key=CARD_KEY, value=twin.to_json())
        made.producer_name, made.producer_version = "loopsr", ""
        made.graph.name = twin.name
        done.write_bytes(made.SerializeToString())
        done.replace(target)
    return twin


def _crops(card: ModelCard, pictures: Sequence[str | Path]) -> Iterator[dict[str, Any]]:
    """``CROPS`` seeded inputs of the network: {"lr": float32 (1, 3, 48, 48) in [0, 1]}."""
    steps = pipeline(card.degradation)
    pairs = load_pairs(find_pictures(pictures), scale=card.scale, steps=steps)
    sampler = Sampler(pairs, batch=1, patch=_PATCH, seed=0)
    for _ in range(CROPS):
        lr, _ = sampler.draw()
        yield {"lr": np.divide(lr.transpose(0, 3, 1, 2), 255, dtype=np.float32)}


def _reader(crops: Iterator[dict[str, Any]], base: Any) -> Any:
    """The crops as ONNX Runtime wants them: an object of its class ``base``."""
    return type("Reader", (base,), {"get_next": lambda self: next(crops, None)})()


def main(argv: Sequence[str] | None = None) -> int:
    """Quantise one model; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m loopsr.export.quantize", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("model", help="name of `loopsr models`, or an ONNX file")
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

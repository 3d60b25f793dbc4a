"""How much a network has to do: its multiply-accumulates and the samples that its layers move."""

from __future__ import annotations

import importlib
import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loopsr.engine.backends.onnxruntime import session_options
from loopsr.engine.foreign.network import Network
from loopsr.engine.network import onnx_bytes
from loopsr.engine.opener import OpenModel
from loopsr.weights import catalogue

# Which input of a layer holds its weights.
_CONVOLUTIONS = {"Conv": 1, "FusedConv": 1, "ConvInteger": 1, "QLinearConv": 3}
_PRODUCTS = ("MatMul", "FusedMatMul", "Gemm", "MatMulInteger", "QLinearMatMul")
_SAMPLE_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}


@dataclass(frozen=True, kw_only=True)
class Work:
    """Of one run: multiply-accumulates; samples that the layers read and write, each layer its
    inputs, weights and output once; samples of the largest layer, for the cache that holds them.
    Samples are 0 where they are not known."""

    macs: int
    samples: int = 0
    largest: int = 0

    def moved(self, precision: str) -> int:
        """Bytes that the layers move when their samples are of ``precision``."""
        return self.samples * _SAMPLE_BYTES[precision]

    def held(self, precision: str) -> int:
        """Bytes of the largest layer."""
        return self.largest * _SAMPLE_BYTES[precision]


def count_work(model: OpenModel, *, size: tuple[int, int]) -> Work | None:
    """The work of one picture of ``size`` (width, height); None for an interpolation.

    It is read off a run: ONNX Runtime lists its layers, after those were joined that any runtime
    joins, and torch counts. Raises ``BackendError``.
    """
    if model.network is None or model.file is None:
        return None
    width, height = size
    shape = (1, model.channels, height, width)
    if model.kind == "spandrel":
        return _of_torch(model, shape)
    if model.card is None:
        data = catalogue.read_bytes(model.file, most=catalogue.MAX_FOREIGN_BYTES)
        network = model.network()
        assert isinstance(network, Network)
        step = network.multiple_of
        shape = (*shape[:2], height + -height % step, width + -width % step)
        return _of_layers(_layers(data, shape))
    path = model.file
    if path.suffix != ".onnx":
        path = path.with_suffix(".onnx")
        if not path.exists():  # a checkpoint of ours alone
            return Work(macs=(model.card.macs_per_pixel or 0) * width * height)
    # `model.card` is that of the steps that are wanted; the file's own says how many there are.
    iters = model.card.iters
    data = onnx_bytes(catalogue.read_card(path), path, iters)
    return _of_layers(_layers(data, shape))


def _layers(data: bytes, shape: tuple[int, ...]) -> list[dict[str, Any]]:
    """What ONNX Runtime says of every layer that it ran."""
    runtime = importlib.import_module("onnxruntime")
    options = session_options(runtime, 1)
    options.enable_profiling = True
    # Joined as any runtime would, but without the layouts that only this one has.
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.add_session_config_entry("session.use_env_allocators", "1")
    # Weights that were packed for this runtime are not listed any more.
    options.add_session_config_entry("session.disable_prepacking", "1")
    with tempfile.TemporaryDirectory(prefix="loopsr-") as folder:
        options.profile_file_prefix = str(Path(folder) / "layers")
        session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        session.run(None, {session.get_inputs()[0].name: np.zeros(shape, np.float32)})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return [
        event["args"]
        for event in events
        if event.get("cat") == "Node" and "output_type_shape" in event.get("args", {})
    ]


def _of_layers(layers: list[dict[str, Any]]) -> Work:
    macs, samples, largest = 0, 0, 0
    for layer in layers:
        inputs, outputs = (
            [shape for port in layer[key] for shape in port.values()]
            for key in ("input_type_shape", "output_type_shape")
        )
        moved = sum(map(math.prod, [*inputs, *outputs]))
        samples, largest = samples + moved, max(largest, moved)
        kind = layer["op_name"]
        if kind in _CONVOLUTIONS:
            macs += math.prod(outputs[0]) * math.prod(inputs[_CONVOLUTIONS[kind]][1:])
        elif kind == "ConvTranspose":
            macs += math.prod(inputs[0]) * math.prod(inputs[1][1:])
        elif kind in _PRODUCTS:
            macs += math.prod(outputs[0]) * inputs[0][-1]
    return Work(macs=macs, samples=samples, largest=largest)


def _of_torch(model: OpenModel, shape: tuple[int, ...]) -> Work:
    assert model.network is not None
    counter = importlib.import_module("torch.utils.flop_counter").FlopCounterMode(display=False)
    network = model.network()
    with counter:
        network.run(np.zeros(shape, np.float32))
    return Work(macs=counter.get_total_flops() // 2)

"""The ONNX twin of a network, and the proof that it computes the same."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from loopsr.card import CARD_KEY, ModelCard
from loopsr.errors import MissingExtraError, TrainingError
from loopsr.export.qdq import write_grids
from loopsr.export.steps import name_steps
from loopsr.io.parts import write_whole
from loopsr.layers.fake_quant import FakeQuantised
from loopsr.weights.onnx_graph import OUTPUT, with_steps

OPSET = 18
_IR_VERSION = 9  # the newest that ONNX Runtime 1.17 reads
TOLERANCE = 1e-5  # float32 sums in another order, on pictures in [0, 1]
PARITY_SIZES = ((1, 1, 1), (1, 7, 10), (2, 33, 24))  # batch, height, width
# Networks of 8-bit integers: where float32 sums in another order round a feature to the
# neighbouring step of its grid, all that sees it differs, by up to a few levels. Small pictures are
# mostly spared, so the middle one of several must agree, to the same bound.
INT8_PARITY_SIZES = ((1, 1, 1), (1, 5, 3), (2, 2, 4))
_INT8_PICTURES = 9


def export_onnx(network: nn.Module, path: Path, *, card: ModelCard) -> None:
    """Write ``network`` as ONNX: input ``lr``, output ``sr``, any batch, height and width.

    The features after each step are named, so that the file can be cut to fewer steps (see
    ``loopsr.weights.onnx_graph``). The card goes into the file's metadata; what the exporter says
    of the source (stack traces, paths) is removed. Weights that several steps share are stored
    once. A ``FakeQuantised`` network becomes one that computes in 8-bit integers. Raises
    ``MissingExtraError``.
    """
    pictures = [f"{OUTPUT}_{step}" for step in range(1, int(getattr(network, "iters", 1)) + 1)]
    plain = network.plain() if isinstance(network, FakeQuantised) else network
    model = _trace(plain, pictures)
    name_steps(model.graph, pictures)
    _strip(model.graph)
    if isinstance(network, FakeQuantised):
        write_grids(model.graph, network)
    for function in model.functions:
        _strip(function)
    del model.metadata_props[:]
    model.metadata_props.add(key=CARD_KEY, value=card.to_json())
    model.ir_version = _IR_VERSION
    model.producer_name, model.producer_version = "loopsr", ""
    model.graph.name = card.name
    model.graph.doc_string = model.doc_string = ""
    import onnx

    onnx.checker.check_model(model)
    write_whole(path, model.SerializeToString())


class _Unrolled(nn.Module):
    """The pictures of all steps at once, for the tracer."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.network.unroll(x))


def _trace(network: nn.Module, pictures: list[str]) -> Any:
    """An ``onnx.ModelProto`` of the network in evaluation mode, with an output a step."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("exporting to ONNX", "train") from error
    names = {0: "batch", 2: "height", 3: "width"}
    dynamic = {axis: torch.export.Dim(name, min=1) for axis, name in names.items()}
    network = network.eval().cpu().float()
    chatty = logging.getLogger("torch.onnx")
    level = chatty.level
    chatty.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter, about its own insides
            program = torch.onnx.export(
                _Unrolled(network),
                (torch.rand(2, 3, 18, 20),),
                input_names=["lr"],
                output_names=pictures,
                dynamic_shapes=(dynamic,),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    finally:
        chatty.setLevel(level)
    assert program is not None
    return program.model_proto


def _strip(graph: Any) -> None:
    """Remove metadata and doc strings of nodes and values, which double a small file."""
    for item in (*graph.node, *getattr(graph, "value_info", ())):
        del item.metadata_props[:]
        item.doc_string = ""
    for name in ("value_info", "metadata_props"):
        if hasattr(graph, name):
            del getattr(graph, name)[:]
    for name in ("input", "output", "initializer"):
        for item in getattr(graph, name, ()):
            if hasattr(item, "metadata_props"):
                del item.metadata_props[:]


def run_onnx(model: Path | bytes, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run a file, or its bytes, on NCHW float32 in [0, 1] with ONNX Runtime on one thread."""
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    data = model if isinstance(model, bytes) else model.read_bytes()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    result: NDArray[np.float32] = session.run(["sr"], {"lr": pixels})[0]
    return result


def parity(
    network: nn.Module, path: Path, *, sizes: Sequence[tuple[int, int, int]] | None = None
) -> float:
    """The largest difference of a value between the network and its twin, over noise of several
    sizes and all numbers of steps; in 8-bit integers that of the middle one of several pictures.
    """
    network = network.eval().cpu()
    rng = np.random.default_rng(0)
    integers = isinstance(network, FakeQuantised)
    draws = _INT8_PICTURES if integers else 1
    sizes = sizes or (INT8_PARITY_SIZES if integers else PARITY_SIZES)
    data, steps = path.read_bytes(), int(getattr(network, "iters", 1))
    worst = 0.0
    for step in range(1, steps + 1):
        twin = data if step == steps else with_steps(data, step, of=steps, file=str(path))
        for batch, height, width in sizes:
            shape = (batch, 3, height, width)
            pictures = [rng.random(shape, np.float32) for _ in range(draws)]
            gaps = [_gap(network, twin, pixels, step, path) for pixels in pictures]
            worst = max(worst, float(np.median(gaps)))
    return worst


def _gap(
    network: nn.Module, twin: bytes, pixels: NDArray[np.float32], step: int, path: Path
) -> float:
    with torch.no_grad():
        expected = network(torch.from_numpy(pixels), iters=step).numpy()
    got = run_onnx(twin, pixels)
    if got.shape != expected.shape:
        raise TrainingError(
            f"{path} gives the shape {got.shape}, the network {expected.shape}; export it again"
        )
    return float(np.abs(got - expected).max())


def check_parity(network: nn.Module, path: Path) -> float:
    """Like ``parity``; raises ``TrainingError`` when the difference is above ``TOLERANCE``."""
    difference = parity(network, path)
    if not difference <= TOLERANCE:
        raise TrainingError(
            f"{path} differs from its network by {difference:.1e}, at most {TOLERANCE:.0e} was "
            "expected; do not ship it, export it again"
        )
    return difference

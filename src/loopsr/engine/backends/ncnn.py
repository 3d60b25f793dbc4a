"""ncnn, the runtime of phones and boards, on the CPU; needs the extra `ncnn`. float32.

The network is converted from the ONNX file when it is loaded; that takes milliseconds.
"""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.card import ModelCard
from loopsr.engine.network import cannot_load, cannot_run, checked_output, onnx_bytes
from loopsr.errors import BackendError, MissingExtraError
from loopsr.weights.ncnn_net import to_ncnn
from loopsr.weights.onnx_graph import INPUT, OUTPUT, Graph


class Ncnn:
    """A loaded network; every run has an extractor of its own, so threads may share it."""

    name = "ncnn"

    def __init__(self, runtime: Any, net: Any, card: ModelCard) -> None:
        self._runtime = runtime
        self._net = net
        self._card = card

    def run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Upscale float32 b3hw in [0, 1] to b3(sh)(sw), not clamped. Raises ``BackendError``."""
        try:
            pictures = [self._run_one(picture) for picture in np.ascontiguousarray(pixels)]
        except (RuntimeError, BackendError) as error:
            raise cannot_run(self.name, self._card, pixels, error) from error
        return checked_output(np.stack(pictures), pixels, self._card)

    def _run_one(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        extractor = self._net.create_extractor()
        # A copy, since this Mat would only borrow memory that numpy may free.
        status = extractor.input(INPUT, self._runtime.Mat(picture).clone())
        if not status:
            status, result = extractor.extract(OUTPUT)
        if status:
            raise BackendError(f"ncnn ended with status {status}")
        output: NDArray[np.float32] = np.array(result)
        return output


def open_backend(
    card: ModelCard, path: Path, *, threads: int, iters: int | None = None, bfloat16: bool = False
) -> Ncnn:
    """Convert and load an ONNX file; its input is called ``lr``, its output ``sr``."""
    assert not bfloat16  # the list of backends says that it cannot
    try:
        runtime: Any = importlib.import_module("ncnn")
    except ImportError as error:
        raise MissingExtraError("the ncnn backend", "ncnn") from error
    data = onnx_bytes(card, path, iters)
    param, weights = to_ncnn(Graph.read(data, file=str(path)), file=str(path))
    net = runtime.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    for shorter in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{shorter}", False)
    with tempfile.TemporaryDirectory(prefix="loopsr-") as folder:
        # From files: what ncnn loads from memory it goes on borrowing.
        for name, content in (("net.param", param.encode()), ("net.bin", weights)):
            (Path(folder) / name).write_bytes(content)
        status = net.load_param(f"{folder}/net.param") or net.load_model(f"{folder}/net.bin")
    if status:
        raise cannot_load("ncnn", path, BackendError(f"status {status}"))
    return Ncnn(runtime, net, card)

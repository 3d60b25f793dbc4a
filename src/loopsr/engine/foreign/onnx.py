"""ONNX files of others: one float32 input (batch, 1 or 3, height, width), one output."""

from __future__ import annotations

import importlib
import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np

from loopsr.engine.backends.onnxruntime import session_options
from loopsr.engine.foreign.network import Batch, Network, Run, probe
from loopsr.engine.machine import free_memory
from loopsr.errors import BackendError, UsageError, WeightsError, first_line
from loopsr.weights.catalogue import MAX_FOREIGN_BYTES, read_bytes
from loopsr.weights.onnx_file import count_weights, refuse_external

log = logging.getLogger(__name__)
_LEAST_MEMORY = 1024**3
_PRECISIONS = {"onnxruntime": ("float32",), "openvino": ("float32", "bfloat16")}
_lock = threading.Lock()
_limited = False


def open_onnx(
    path: Path, *, threads: int, backend: str = "onnxruntime", precision: str = "float32"
) -> tuple[Network, int]:
    """The network in an ONNX file without one of our cards, and how many weights it has.

    ``backend`` is "onnxruntime" or "openvino". Raises ``UsageError`` for another, ``WeightsError``
    for what is no such network, for a file that is too large or that points to data outside, and
    for one whose layers want more memory than there is.
    """
    if backend not in _PRECISIONS or precision not in _PRECISIONS[backend]:
        raise UsageError(
            f"{path} was to run on {backend} in {precision}; an ONNX file of others runs on "
            "onnxruntime in float32, or on openvino in float32 or bfloat16"
        )
    data = read_bytes(path, most=MAX_FOREIGN_BYTES)
    refuse_external(data, file=str(path))
    weights = count_weights(data, file=str(path))
    runtime: Any = importlib.import_module("onnxruntime")
    _limit_memory(runtime)
    options = session_options(runtime, threads)
    options.add_session_config_entry("session.use_env_allocators", "1")
    try:
        session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has a dozen classes that share no useful base
        raise WeightsError(
            f"{path} is no network that onnxruntime can load ({_reason(error)}); "
            "check the file, or export it again"
        ) from error
    name = path.stem
    entry, channels = _ports(session, path)
    if backend == "openvino":
        from loopsr.engine.foreign.openvino import open_forward

        del session  # it only said what the file is
        run = open_forward(data, name=name, threads=threads, precision=precision)
        return _probed(run, name, channels), weights

    def forward(pixels: Batch) -> Batch:
        try:
            output: Batch = np.asarray(session.run(None, {entry: pixels})[0])
        except Exception as error:
            raise BackendError(
                f"onnxruntime cannot run {name} on an input of shape {pixels.shape} "
                f"({_reason(error)})"
            ) from error
        return output

    return _probed(forward, name, channels), weights


def _probed(forward: Run, name: str, channels: int | None) -> Network:
    """The network, as RGB and then as luma where the file does not say which."""
    if channels is None:
        try:
            return probe(forward, name=name, channels=3)
        except WeightsError:
            return probe(forward, name=name, channels=1)
    return probe(forward, name=name, channels=channels)


def _limit_memory(runtime: Any) -> None:
    """Give foreign networks one arena of at most half the memory that is free.

    A file of a hundred bytes can ask for any amount; without a bound the system would kill us.
    """
    global _limited
    with _lock:
        if _limited:
            return
        most = max(_LEAST_MEMORY, free_memory() // 2)
        memory = runtime.OrtMemoryInfo(
            "Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT
        )
        grow_as_requested = 1  # the default, the next power of two, would waste half of it
        runtime.create_and_register_allocator(
            memory, runtime.OrtArenaCfg(most, grow_as_requested, -1, -1)
        )
        _limited = True


def _ports(session: Any, path: Path) -> tuple[str, int | None]:
    """The name of the input, and its channels when the file says them."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    told = ", ".join(f"{port.name} {port.type} {port.shape}" for port in inputs)
    wanted = "float32 (batch, 1 or 3, height, width) was expected"
    if len(inputs) != 1 or len(outputs) != 1:
        raise WeightsError(
            f"{path} has {len(inputs)} inputs ({told}) and {len(outputs)} outputs, one of each "
            "was expected; pass a network that makes a picture of a picture"
        )
    shape = inputs[0].shape
    if inputs[0].type != "tensor(float)" or len(shape) != 4:
        raise WeightsError(f"{path} takes {told}, {wanted}; export it again")
    channels = shape[1] if isinstance(shape[1], int) else None
    if channels not in (1, 3, None):
        raise WeightsError(f"{path} takes {told}, {wanted}; channels come before height and width")
    if any(isinstance(side, int) for side in shape[2:]):
        raise WeightsError(
            f"{path} takes pictures of one size only ({told}); export it with "
            "dynamic height and width"
        )
    return inputs[0].name, channels


def _reason(error: BaseException) -> str:
    if "Available memory" in str(error):
        return "it wants more memory than a network of others may take"
    return first_line(error)

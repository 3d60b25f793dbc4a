"""OpenVINO on the CPU, reading the ONNX file; needs the extra `openvino`. float32, bfloat16, int8.

bfloat16 is offered where the CPU computes in it. Two things keep the picture: the enlarged input
that a network adds its result to stays in float32 (OpenVINO would round it to 8 bits of mantissa, a
grey level in bright places), and so does the sum.
"""

from __future__ import annotations

import functools
import importlib
import io
import os
import queue
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.card import ModelCard
from loopsr.engine.network import cannot_load, cannot_run, checked_output, onnx_bytes
from loopsr.errors import BackendError, MissingExtraError, WeightsError
from loopsr.weights.catalogue import is_int8
from loopsr.weights.onnx_graph import Graph
from loopsr.weights.onnx_subpixel import BASE, summed_small


class OpenVino:
    """A compiled model and, in bfloat16, a second one for the enlarged input.

    A request of OpenVINO serves one thread at a time, so each call takes one that is free.
    """

    name = "openvino"

    def __init__(self, compiled: Any, base: Any | None, card: ModelCard) -> None:
        self._compiled = compiled
        self._base = base
        self._card = card
        self._free: queue.SimpleQueue[tuple[Any, Any | None]] = queue.SimpleQueue()

    def run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Upscale float32 b3hw in [0, 1] to b3(sh)(sw), not clamped. Raises ``BackendError``."""
        if pixels.size == 3 and is_int8(self._card.name):
            # OpenVINO 2026.4 computes nonsense for a single pixel in 8-bit integers, not for two.
            return self.run(np.concatenate([pixels, pixels]))[:1]
        try:
            requests = self._free.get_nowait()
        except queue.Empty:
            base = None if self._base is None else self._base.create_infer_request()
            requests = self._compiled.create_infer_request(), base
        request, base = requests
        try:
            inputs = [np.ascontiguousarray(pixels)]
            if base is not None:
                inputs.append(base.infer(inputs, share_inputs=True, share_outputs=True)[0])
            output: NDArray[np.float32] = request.infer(inputs, share_inputs=True)[0]
        except MemoryError:
            raise
        except Exception as error:  # the runtime raises plain RuntimeError, but promises nothing
            raise cannot_run(self.name, self._card, pixels, error) from error
        self._free.put(requests)
        return checked_output(output, pixels, self._card)


def open_backend(
    card: ModelCard, path: Path, *, threads: int, iters: int | None = None, bfloat16: bool = False
) -> OpenVino:
    """Load an ONNX file; its input is called ``lr``, its output ``sr``."""
    core, runtime = open_core(bfloat16=bfloat16), importlib.import_module("openvino")
    data = onnx_bytes(card, path, iters)
    try:
        # Enlarging at the output's size would take a tenth to a half of the time.
        data = summed_small(Graph.read(data, file=str(path))).unshared().to_bytes()
        model = core.read_model(io.BytesIO(data))
        base = _take_base(runtime, core, model, data) if bfloat16 else None
        _check_ports(model, path)
        main = core.compile_model(
            model, "CPU", compile_options(threads, "bf16" if bfloat16 else "f32")
        )
        side = base and core.compile_model(base, "CPU", compile_options(threads, "f32"))
    except WeightsError:
        raise
    except Exception as error:
        raise cannot_load("openvino", path, error) from error
    return OpenVino(main, side, card)


def open_core(*, bfloat16: bool) -> Any:
    """OpenVINO's core. Raises ``MissingExtraError``, ``BackendError`` for a CPU without bfloat16
    when that is wanted."""
    try:
        importlib.import_module("openvino")  # the core may be left of a time when it was there
        core = _core()
    except ImportError as error:
        raise MissingExtraError("the openvino backend", "openvino") from error
    # OpenVINO asks the CPU, oneDNN obeys the limit; together they return empty pictures.
    limited = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper().startswith(("SSE", "AVX2", "AVX_"))
    capable = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if bfloat16 and (limited or not capable):
        raise BackendError(
            "this CPU does not compute in bfloat16; pass --precision float32 or leave it out"
        )
    return core


@functools.cache
def _core() -> Any:
    """One for the process. Its CPU plugin installs a stack for signals, of the thread that comes
    first; unloaded from another thread, it would leave that one pointing nowhere, and the next
    Ctrl-C would end in a crash.
    """
    return importlib.import_module("openvino").Core()


def compile_options(threads: int, precision: str) -> dict[str, Any]:
    """For a core's ``compile_model``; ``precision`` is OpenVINO's name for it."""
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # Pinned, the threads of two processes would share one core and leave another idle.
        "ENABLE_CPU_PINNING": False,
    }


def _take_base(runtime: Any, core: Any, model: Any, data: bytes) -> Any | None:
    """Make the enlarged input a second input of ``model``; returns the model that computes it.

    None for a network that enlarges no input.
    """
    layer = _base_layer(model)
    if layer is None:
        return None
    port = runtime.op.Parameter(runtime.Type.f32, layer.get_output_partial_shape(0))
    layer.output(0).replace(port.output(0))
    model.add_parameters([port])
    again = core.read_model(io.BytesIO(data))
    return runtime.Model([_base_layer(again)], again.get_parameters(), "base")


def _base_layer(model: Any) -> Any | None:
    layers = (x for x in model.get_ops() if any(BASE in port.get_names() for port in x.outputs()))
    return next(layers, None)


def _check_ports(model: Any, path: Path) -> None:
    names = [
        sorted(name for port in ports for name in port.get_names())
        for ports in (model.inputs, model.outputs)
    ]
    if "lr" not in names[0] or names[1] != ["sr"]:
        raise WeightsError(
            f"{path} has inputs {names[0]} and outputs {names[1]}, lr and sr were expected; "
            "export it with loopsr"
        )

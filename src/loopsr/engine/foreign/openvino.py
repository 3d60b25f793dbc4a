"""ONNX files of others on OpenVINO, after ONNX Runtime has said what they are.

Unlike there, nothing bounds the memory that their layers ask for.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from loopsr.engine.backends.openvino import compile_options, open_core
from loopsr.engine.foreign.network import Batch, Run
from loopsr.errors import BackendError, WeightsError, first_line


def open_forward(data: bytes, *, name: str, threads: int, precision: str) -> Run:
    """Compile a network of one input and one output; ``precision`` is float32 or bfloat16.

    Raises ``MissingExtraError``, ``BackendError`` where the CPU has no bfloat16, ``WeightsError``.
    """
    core = open_core(bfloat16=precision == "bfloat16")
    hint = "bf16" if precision == "bfloat16" else "f32"
    try:
        model: Any = core.compile_model(
            core.read_model(io.BytesIO(data)), "CPU", compile_options(threads, hint)
        )
    except Exception as error:  # the runtime raises plain RuntimeError, but promises nothing
        raise WeightsError(
            f"{name} is no network that openvino can load ({first_line(error)}); pass "
            "--backend onnxruntime"
        ) from error

    def forward(pixels: Batch) -> Batch:
        try:
            output: Batch = np.array(model.create_infer_request().infer([pixels])[0])
        except Exception as error:
            raise BackendError(
                f"openvino cannot run {name} on an input of shape {pixels.shape} "
                f"({first_line(error)})"
            ) from error
        return output

    return forward

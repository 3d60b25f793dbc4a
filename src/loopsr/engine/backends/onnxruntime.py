"""ONNX Runtime on the CPU: what every installation has. float32 and int8."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.card import ModelCard
from loopsr.engine.backends import Read, State
from loopsr.engine.network import cannot_load, cannot_run, checked_output, onnx_bytes
from loopsr.errors import BackendError, WeightsError
from loopsr.weights.onnx_graph import OUTPUT, Graph
from loopsr.weights.onnx_parts import Segment, cut_parts
from loopsr.weights.onnx_subpixel import spread_by_convolution, summed_small

_FATAL = 4  # log level: what goes wrong reaches the user through our own errors


class OnnxRuntime:
    """One inference session; its ``run`` is thread-safe by ONNX Runtime's own promise."""

    name = "onnxruntime"

    def __init__(self, session: Any, card: ModelCard) -> None:
        self._session = session
        self._card = card

    def run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Upscale float32 b3hw in [0, 1] to b3(sh)(sw), not clamped. Raises ``BackendError``."""
        try:
            output: NDArray[np.float32] = self._session.run(["sr"], {"lr": pixels})[0]
        except MemoryError:
            raise
        except Exception as error:  # the runtime has a dozen classes that share no useful base
            raise cannot_run(self.name, self._card, pixels, error) from error
        return checked_output(output, pixels, self._card)


def open_backend(
    card: ModelCard, path: Path, *, threads: int, iters: int | None = None, bfloat16: bool = False
) -> OnnxRuntime:
    """Load an ONNX file; its input is called ``lr``, its output ``sr``."""
    assert not bfloat16  # the list of backends says that it cannot
    runtime: Any = importlib.import_module("onnxruntime")
    session = _session(runtime, onnx_bytes(card, path, iters), path, threads)
    _check_ports(session, path)
    return OnnxRuntime(session, card)


class OnnxRuntimeSteps:
    """One session from each stop to the next."""

    name = "onnxruntime"

    def __init__(
        self, sessions: dict[int, Any], segments: dict[int, Segment], card: ModelCard
    ) -> None:
        self._sessions, self._segments, self._card = sessions, segments, card

    def go_on(self, read: Read, stop: int) -> tuple[NDArray[np.float32], State]:
        """As ``Stepwise``."""
        segment = self._segments[stop]
        inputs = {name: read(name) for name in segment.inputs}
        some = next(iter(inputs.values()))
        try:
            picture, *values = self._sessions[stop].run([OUTPUT, *segment.adds], inputs)
        except MemoryError:
            raise
        except Exception as error:
            raise cannot_run(self.name, self._card, some, error) from error
        if any(value.shape[2:] != some.shape[2:] for value in values):
            raise BackendError(
                f"{self._card.name} carries features of another size than its input; "
                "pass --quality best"
            )
        state = dict(zip(segment.adds, values, strict=True))
        return checked_output(picture, some, self._card), state


def open_stepwise(
    card: ModelCard, path: Path, *, stops: tuple[int, ...], threads: int
) -> OnnxRuntimeSteps:
    """Load an ONNX file in segments, cut after each of ``stops``."""
    runtime: Any = importlib.import_module("onnxruntime")
    segments = cut_parts(onnx_bytes(card, path, None), stops, file=str(path))
    sessions = {
        stop: _session(runtime, segment.data, path, threads) for stop, segment in segments.items()
    }
    return OnnxRuntimeSteps(sessions, segments, card)


def _session(runtime: Any, data: bytes, path: Path, threads: int) -> Any:
    """A session of the same network in layers that ONNX Runtime is quick at: it enlarges inputs and
    shuffles pixels on one thread, which was a tenth to a half of the time."""
    try:
        graph = spread_by_convolution(summed_small(Graph.read(data, file=str(path))))
        options = session_options(runtime, threads)
        return runtime.InferenceSession(
            graph.to_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except WeightsError:
        raise
    except Exception as error:
        raise cannot_load("onnxruntime", path, error) from error


def session_options(runtime: Any, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    # It keeps a plan of the memory for every size of input, and tiles have several: up to twice as
    # much memory (tests/engine/test_memory.py).
    options.enable_mem_pattern = False
    # Left spinning between two tiles, the threads would take the cores from the encoder.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _check_ports(session: Any, path: Path) -> None:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    names = [port.name for port in inputs], [port.name for port in outputs]
    shape = inputs[0].shape if inputs else []
    if names != (["lr"], ["sr"]) or len(shape) != 4 or shape[1] != 3:
        raise WeightsError(
            f"{path} has inputs {names[0]} of shape {shape} and outputs {names[1]}, "
            "lr (batch, 3, height, width) and sr were expected; export it with loopsr"
        )
    if inputs[0].type != "tensor(float)" or any(isinstance(side, int) for side in shape[2:]):
        raise WeightsError(
            f"{path} takes {inputs[0].type} of shape {shape}, float32 of any height and width was "
            "expected; export it with loopsr"
        )

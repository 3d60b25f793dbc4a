"""What the machine itself can do: multiply-accumulates a second, and bytes of memory a second.

Each runtime that is installed multiplies chains of square matrices, the friendliest work there is;
the fastest of them is the machine's peak in that precision. No network can be faster, unless its
runtime saves multiplications (Winograd's convolutions do).
"""

from __future__ import annotations

import importlib
import io
import itertools
import os
import struct
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.engine.backends import installed
from loopsr.engine.backends.onnxruntime import session_options
from loopsr.engine.backends.openvino import compile_options, open_core
from loopsr.errors import LoopsrError
from loopsr.weights.wire import BYTES, VARINT, Value, message

SIDE = 1024  # of the matrices
CHAIN = 4  # products in a row, so that the first and last conversion weigh little
WORK = CHAIN * SIDE**3  # multiply-accumulates of one run
LIMIT = "ONEDNN_MAX_CPU_ISA"  # in the environment: keeps torch and OpenVINO from newer units
LARGE = 256 * 1024**2  # bytes that no cache holds
_FLOAT, _UINT8, _INT8 = 1, 2, 3  # ONNX's types of a tensor
_INT8_STEP = 1 / 64  # of the quantised samples

Run = Callable[[], object]
Samples = NDArray[np.floating[Any]]


def probes(threads: int) -> dict[tuple[str, str], Run]:
    """(precision, runtime) -> a function that computes ``WORK`` once, for what is installed.

    Where the environment limits torch and OpenVINO, ONNX Runtime, which does not obey, is left out.
    """
    found: dict[tuple[str, str], Run] = {}
    if not os.environ.get(LIMIT):
        for precision, build in (("float32", _plain_model), ("int8", _quantised_model)):
            found[precision, "onnxruntime"] = _onnxruntime(build(), threads)
    if "openvino" in installed():
        for precision, hint, build in (
            ("float32", "f32", _plain_model),
            ("bfloat16", "bf16", _plain_model),
            ("int8", "f32", _quantised_model),
        ):
            try:
                found[precision, "openvino"] = _openvino(build(), hint, threads)
            except LoopsrError:  # a CPU without bfloat16
                continue
    if "torch" in installed():
        for precision in ("float32", "bfloat16"):
            found[precision, "torch"] = _torch(precision, threads)
    return found


def copying(count: int, threads: int) -> Run:
    """A function that copies ``count`` bytes ``repeats(count)`` times, cut among threads.

    Twice as many bytes move: they are read and written. It returns the copy.
    """
    source = np.ones(max(count // 8, 1))
    target = np.zeros_like(source)
    pool = ThreadPoolExecutor(threads)
    edges = np.linspace(0, len(source), threads + 1).astype(int)
    parts = [(target[a:b], source[a:b]) for a, b in itertools.pairwise(edges)]

    def copy_part(part: tuple[Samples, Samples]) -> None:
        for _ in range(repeats(count)):
            np.copyto(*part)

    def copy() -> object:
        list(pool.map(copy_part, parts))
        return target

    return copy


def repeats(count: int) -> int:
    """How often ``copying`` copies, so that starting its threads does not count."""
    return max(1, LARGE // (4 * count))


def best(times: Mapping[tuple[str, str], list[float]]) -> dict[str, tuple[float, str]]:
    """precision -> (multiply-accumulates a second, runtime) of the fastest run of all."""
    found: dict[str, tuple[float, str]] = {}
    for (precision, runtime), seconds in times.items():
        rate = WORK / min(seconds)
        if precision not in found or rate > found[precision][0]:
            found[precision] = rate, runtime
    return found


def floor_seconds(
    *, macs: float, moved: float, macs_per_second: float, bytes_per_second: float
) -> tuple[float, str]:
    """The least time for so much work, and what decides it, "compute" or "memory".

    Both can go on at once, so it is the longer of the two.
    """
    compute, memory = macs / macs_per_second, moved / bytes_per_second
    return (compute, "compute") if compute >= memory else (memory, "memory")


def _onnxruntime(data: bytes, threads: int) -> Run:
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(
        data, session_options(runtime, threads), providers=["CPUExecutionProvider"]
    )
    x = _matrix(1)
    return lambda: session.run(None, {"x": x})


def _openvino(data: bytes, hint: str, threads: int) -> Run:
    core = open_core(bfloat16=hint == "bf16")
    model = core.compile_model(
        core.read_model(io.BytesIO(data)), "CPU", compile_options(threads, hint)
    )
    request, x = model.create_infer_request(), _matrix(1)
    return lambda: request.infer([x], share_inputs=True, share_outputs=True)


def _torch(precision: str, threads: int) -> Run:
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    kind = getattr(torch, precision)
    first = torch.from_numpy(_matrix(1)).to(kind)
    others = [torch.from_numpy(_matrix(n)).to(kind) for n in range(2, 2 + CHAIN)]

    def run() -> object:
        with torch.inference_mode():
            y = first
            for other in others:
                y = y @ other
            return y

    return run


def _matrix(seed: int) -> NDArray[np.float32]:
    """Of a size that products neither grow nor vanish."""
    values = np.random.default_rng(seed).normal(0, SIDE**-0.5, (SIDE, SIDE))
    return values.astype(np.float32)


def _plain_model() -> bytes:
    """An ONNX file: x times one matrix after the other."""
    nodes, tensors = [], []
    for n in range(CHAIN):
        weights = _matrix(2 + n)
        tensors.append(_tensor(f"w{n}", _FLOAT, weights.shape, weights.tobytes()))
        nodes.append(_node("MatMul", [_name(n), f"w{n}"], _name(n + 1)))
    return _model(nodes, tensors)


def _quantised_model() -> bytes:
    """The same in 8-bit integers, as QDQ: samples a tensor without sign, weights with one."""
    nodes, tensors = (
        [],
        [
            _tensor("step", _FLOAT, (), struct.pack("<f", _INT8_STEP)),
            _tensor("zero", _UINT8, (), b"\x80"),
            _tensor("wzero", _INT8, (), b"\x00"),
        ],
    )
    for n in range(CHAIN):
        weights = np.clip(np.round(_matrix(2 + n) / _INT8_STEP), -128, 127).astype(np.int8)
        tensors.append(_tensor(f"w{n}", _INT8, weights.shape, weights.tobytes()))
        nodes += [
            _node("QuantizeLinear", [_name(n), "step", "zero"], f"q{n}"),
            _node("DequantizeLinear", [f"q{n}", "step", "zero"], f"x{n}"),
            _node("DequantizeLinear", [f"w{n}", "step", "wzero"], f"v{n}"),
            _node("MatMul", [f"x{n}", f"v{n}"], _name(n + 1)),
        ]
    return _model(nodes, tensors)


def _name(step: int) -> str:
    return {0: "x", CHAIN: "y"}.get(step, f"y{step}")


# Field numbers: onnx/onnx.proto.
def _model(nodes: list[bytes], tensors: list[bytes]) -> bytes:
    parts: list[tuple[int, int, Value | bytes]] = [(1, BYTES, node) for node in nodes]
    parts += [(5, BYTES, tensor) for tensor in tensors]
    parts += [(2, BYTES, b"peak"), (11, BYTES, _port("x")), (12, BYTES, _port("y"))]
    opset = message([(2, VARINT, 17)])
    return message([(1, VARINT, 8), (7, BYTES, message(parts)), (8, BYTES, opset)])


def _node(kind: str, inputs: list[str], output: str) -> bytes:
    ports: list[tuple[int, int, Value | bytes]] = [(1, BYTES, name.encode()) for name in inputs]
    return message([*ports, (2, BYTES, output.encode()), (4, BYTES, kind.encode())])


def _tensor(name: str, kind: int, shape: tuple[int, ...], raw: bytes) -> bytes:
    sides: list[tuple[int, int, Value | bytes]] = [(1, VARINT, side) for side in shape]
    return message([*sides, (2, VARINT, kind), (8, BYTES, name.encode()), (9, BYTES, raw)])


def _port(name: str) -> bytes:
    side = message([(1, VARINT, SIDE)])
    shape = message([(1, BYTES, side), (1, BYTES, side)])
    tensor = message([(1, VARINT, _FLOAT), (2, BYTES, shape)])
    return message([(1, BYTES, name.encode()), (2, BYTES, message([(1, BYTES, tensor)]))])

"""A ``Unit`` as one kernel on a CPU, forward and backward, for training.

The kernel (fused_unit.cpp) is compiled for this machine at its first use, which takes a C++
compiler and two seconds, and kept in the cache folder. torch computes a unit layer by layer, and
the gradient of its depthwise layer slowly; docs/log.md has what is won.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from loopsr.io.cache import cache_folder
from loopsr.layers import Conv, ConvReLU
from loopsr.layers.unit import Unit

_SOURCE = Path(__file__).with_suffix(".cpp")
_FLAGS = ("-O3", "-march=native", "-shared", "-fPIC", "-w")
_CHANNELS = 16  # widths are multiples of it


class FusedUnit(Unit):
    """A unit that trains in one kernel; the weights are those of ``Unit``, under the same names."""

    def forward(self, x: Tensor) -> Tensor:
        """The features after this unit; float32, whatever the precision around it."""
        learns = self.training and torch.is_grad_enabled()  # measured and exported as it is
        if not learns or self.look.weight.dtype != torch.float32:
            return super().forward(x)
        layers = (self.look, self.widen, self.narrow)
        weights = [part for layer in layers for part in (layer.weight, layer.bias)]
        return cast(Tensor, _Fused.apply(x, *weights))  # type: ignore[no-untyped-call]


def fuse(network: nn.Module) -> int:
    """Let the units of ``network`` train in the kernel; how many do.

    Those stay as they are whose width is no multiple of 16 or whose layers are others
    (``fake_quant``). Raises ``OSError`` when the kernel cannot be compiled; then all stay.
    """
    units = [part for part in network.modules() if isinstance(part, Unit) and _fits(part)]
    for unit in units:
        _kernel(*_shape(unit.look.weight, unit.widen.weight))
    for unit in units:
        unit.__class__ = FusedUnit
    return len(units)


def _fits(unit: Unit) -> bool:
    plain = type(unit.widen) is ConvReLU and type(unit.narrow) is Conv
    return plain and unit.look.in_channels % _CHANNELS == 0


def _shape(look: Tensor, widen: Tensor) -> tuple[int, int, int]:
    """Width, hidden channels and side of the kernel."""
    return widen.shape[1], widen.shape[0], look.shape[2]


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, look: Tensor, look_bias: Tensor, *rest: Tensor) -> Tensor:
        widen, widen_bias, narrow, narrow_bias = rest
        kernel = _kernel(*_shape(look, widen))
        x = x.permute(0, 2, 3, 1).float().contiguous()
        y, seen = torch.empty_like(x), torch.empty_like(x)
        weights = [
            *(_taps(look), look_bias),
            *(_matrix(widen).t().contiguous(), widen_bias),
            *(_matrix(narrow).t().contiguous(), narrow_bias),
        ]

        def part(rows: slice) -> None:
            _call(kernel.unit_forward, x[rows], *weights, y[rows], seen[rows], shape=x[rows].shape)

        _in_parts(part, len(x))
        ctx.save_for_backward(x, seen, look, widen, widen_bias, narrow)
        return y.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        x, seen, look, widen, widen_bias, narrow = ctx.saved_tensors
        kernel = _kernel(*_shape(look, widen))
        of_y = gradients[0].permute(0, 2, 3, 1).contiguous()
        of_x = torch.empty_like(x)
        wide, slim = _matrix(widen), _matrix(narrow)
        taps = _taps(look)
        weights = [taps.flip(0), wide.t().contiguous(), widen_bias, wide, slim]

        def part(rows: slice) -> list[Tensor]:
            inputs = (of_y[rows], x[rows], seen[rows], *weights)
            shapes = (taps, taps[0], wide, widen_bias, slim, taps[0])
            sums = [torch.zeros_like(shape) for shape in shapes]
            _call(kernel.unit_backward, *inputs, of_x[rows], *sums, shape=x[rows].shape)
            return sums

        # In the order of the parts: as many threads, the same bits.
        of_all = zip(*_in_parts(part, len(x)), strict=True)
        sums = [torch.stack(of_one).sum(0) for of_one in of_all]
        of_taps, of_look_bias, of_wide, of_widen_bias, of_slim, of_narrow_bias = sums
        return (
            of_x.permute(0, 3, 1, 2),
            *(of_taps.t().reshape(look.shape), of_look_bias),
            *(of_wide.view(widen.shape), of_widen_bias),
            *(of_slim.view(narrow.shape), of_narrow_bias),
        )


def _taps(look: Tensor) -> Tensor:
    """The depthwise weights, (taps, width)."""
    return look.flatten(1).t().contiguous()


def _matrix(weight: Tensor) -> Tensor:
    return weight.flatten(1).contiguous()


def _call(function: Any, *tensors: Tensor, shape: Sequence[int]) -> None:
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
    function(*pointers, *(ctypes.c_long(size) for size in shape[:3]))


def _in_parts(work: Callable[[slice], Any], images: int) -> list[Any]:
    """``work`` on a share of the batch in each thread (ctypes lets them run side by side)."""
    count = min(torch.get_num_threads(), images)
    cuts = [images * number // count for number in range(count + 1)]
    parts = [slice(start, stop) for start, stop in itertools.pairwise(cuts)]
    if count == 1:
        return [work(parts[0])]
    return list(_pool(count).map(work, parts))


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="fused-unit")


@functools.cache
def _kernel(width: int, hidden: int, side: int) -> ctypes.CDLL:
    """The compiled kernel for one shape of units. Raises ``OSError``."""
    compiler = _compiler()
    if compiler is None:
        raise OSError("no C++ compiler was found")
    shape = [f"-DWIDTH={width}", f"-DHIDDEN={hidden}", f"-DKERNEL={side}"]
    # Its macros tell the compiler's version and what this processor can do.
    macros = _run([compiler, *_FLAGS, "-dM", "-E", "-x", "c++", os.devnull])
    text = "\n".join([_SOURCE.read_text(encoding="utf-8"), *shape, macros])
    name = f"unit-{hashlib.sha256(text.encode()).hexdigest()[:16]}.so"
    file = cache_folder() / "kernels" / name
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            built = Path(folder) / name
            _run([compiler, *_FLAGS, *shape, str(_SOURCE), "-o", str(built)])
            built.replace(file)
    return ctypes.CDLL(str(file))


def _compiler() -> str | None:
    return os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)


def _run(command: list[str]) -> str:
    """What a command printed. Raises ``OSError`` with what it complained of."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{command[0]} failed: {done.stderr.strip() or 'it said nothing'}")
    return done.stdout

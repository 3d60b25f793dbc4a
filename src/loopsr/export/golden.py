"""Golden tensors: a small input and what the network made of it, to recognise a changed network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save
from torch import Tensor, nn

from loopsr.io.parts import write_whole
from loopsr.layers.fake_quant import FakeQuantised

_HEIGHT, _WIDTH = 9, 10


def golden_input() -> NDArray[np.float32]:
    """(1, 3, 9, 10) float32 in [0, 1]: colour ramps with a sharp edge, whole grey levels."""
    y, x = np.mgrid[0:_HEIGHT, 0:_WIDTH].astype(np.float64)
    ramps = np.stack([x / (_WIDTH - 1), y / (_HEIGHT - 1), (x + y) % 5 / 4])
    ramps[:, 3:6, 4:] = 1 - ramps[:, 3:6, 4:]
    levels: NDArray[np.float32] = (np.round(ramps * 255) / 255).astype(np.float32)[None]
    return levels


def golden_windows() -> NDArray[np.float32]:
    """(8, 3, 4, 4): parts of ``golden_input``, for networks of 8-bit integers.

    Where sums in another order round a feature to the neighbouring step of its grid, all of that
    picture differs: so several small ones, of which most must agree.
    """
    whole = golden_input()
    windows = [whole[..., y : y + 4, x : x + 4] for y in (1, 4) for x in (0, 2, 4, 6)]
    return np.concatenate(windows)


def write_golden(network: nn.Module, path: Path) -> None:
    """Write ``lr`` and ``sr`` as safetensors."""
    pixels = golden_windows() if isinstance(network, FakeQuantised) else golden_input()
    write_whole(path, save({"lr": pixels, "sr": run_network(network, pixels)}))


def run_network(network: nn.Module, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the network makes of n3hw float32 in [0, 1], on the CPU."""
    with torch.no_grad():
        result: Tensor = network.eval().cpu()(torch.from_numpy(pixels))
    return result.contiguous().numpy()


def read_golden(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Input and expected output."""
    tensors = load_file(path)
    return tensors["lr"], tensors["sr"]

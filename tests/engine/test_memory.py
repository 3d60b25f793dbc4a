"""The memory that a plan promises is what ONNX Runtime really takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from loopsr.engine.plan import BYTES_PER_PIXEL
from loopsr.weights import catalogue

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="counts resident memory as Linux does"
)

SIDE = 256
MEASURE = """
import re, sys
from pathlib import Path
import numpy as np
from loopsr.engine.backends import open_backend
from loopsr.weights import catalogue

path, side = Path(sys.argv[1]), int(sys.argv[2])
backend = open_backend("onnxruntime", catalogue.read_card(path), path, threads=2)
# Not ru_maxrss: a process inherits that from the one that started it.
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
backend.run(np.random.rand(1, 3, 8, 8).astype(np.float32))
pixels = np.random.rand(1, 3, side, side).astype(np.float32)
before = peak()
backend.run(pixels)
backend.run(pixels)
print((peak() - before) // side**2)
"""


def bytes_per_pixel(path: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), str(SIDE)],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout)


def test_of_the_papers_network(weights: Path) -> None:
    """Its width is fixed, so that one step needs what twelve need."""
    measured = max(bytes_per_pixel(weights / f"loop-x{scale}.onnx") for scale in (2, 4))
    assert BYTES_PER_PIXEL["lrn"] / 2 < measured <= BYTES_PER_PIXEL["lrn"]


@pytest.mark.parametrize("name", catalogue.names())
def test_of_what_ships(name: str) -> None:
    network = catalogue.card(name).network
    assert bytes_per_pixel(catalogue.onnx_path(name)) <= BYTES_PER_PIXEL[network]

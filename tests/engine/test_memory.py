"""The memory that a plan promises is what ONNX Runtime really takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from loopsr.card import StepRule
from loopsr.engine.adaptive import adaptive_memory
from loopsr.engine.plan import BYTES_PER_PIXEL, stage_memory
from loopsr.weights import catalogue

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="counts resident memory as Linux does"
)

SIDE = 240
HEAD = """
import json, re, sys
from pathlib import Path
import numpy as np
from loopsr.card import StepRule
from loopsr.engine.adaptive import Adaptive
from loopsr.engine.backends import open_backend, open_stepwise
from loopsr.engine.ensemble import SelfEnsemble
from loopsr.weights import catalogue

path, side = Path(sys.argv[1]), int(sys.argv[2])
card = catalogue.read_card(path)
# Not ru_maxrss: a process inherits that from the one that started it.
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
pixels = np.random.rand(1, 3, side, side).astype(np.float32)
"""
MEASURE = """
backend = open_backend("onnxruntime", card, path, threads=2)
if sys.argv[3:] == ["ensemble"]:
    backend = SelfEnsemble(backend)
backend.run(pixels[:, :, :8, :8].copy())
tall = pixels.reshape(1, 3, side * 4 // 3, side * 3 // 4)
before = peak()
for window in (tall, tall.swapaxes(2, 3), pixels):  # tiles have several sizes
    backend.run(np.ascontiguousarray(window))
print((peak() - before) // side**2)
"""
ADAPTIVE = """
stops = tuple(json.loads(sys.argv[3]))
thresholds = tuple(0.1 + 0.9 * i for i in range(len(stops) - 1))
rule = StepRule(cell=16, stops=stops, thresholds=thresholds)
network = open_stepwise("onnxruntime", card, path, stops=stops, threads=2)
adaptive = Adaptive(network, card, rule)
adaptive.run_core(pixels[:, :, :8, :8].copy(), (0, 8, 0, 8))
before = peak()
for share in (0.01, 0.2, 1):  # all of it is for each of the stops in turn
    adaptive.run_core(np.float32(share) * pixels, (0, side, 0, side))
print((peak() - before) // side**2)
"""


def bytes_per_pixel(path: Path, *more: str, script: str = MEASURE) -> int:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + script, str(path), str(SIDE), *more],
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


@pytest.mark.parametrize("name", ["loop-x2", "loop-x4"])
def test_of_a_self_ensemble(name: str) -> None:
    card = catalogue.card(name)
    size = (4000, 3000)
    once, mean = (stage_memory(card, *size, (SIDE, SIDE), runs=runs) for runs in (1, 8))
    window = (SIDE + 2 * card.halo) ** 2
    measured = bytes_per_pixel(catalogue.onnx_path(name), "ensemble")
    assert measured <= BYTES_PER_PIXEL["loop"] + (mean - once) / window


@pytest.mark.parametrize(
    ("name", "stops"),
    [
        ("lrn-x3", (0, 2)),
        ("lrn-x3", (1, 2)),
        ("lrn-x3", (1, 2, 6)),
        ("loop-x2", (0, 2, 3, 4)),
        ("loop-x4", (0, 2, 3, 4)),
    ],
)
def test_of_adaptive_steps(name: str, stops: tuple[int, ...]) -> None:
    path, once = catalogue.onnx_path(name), BYTES_PER_PIXEL[catalogue.card(name).network]
    rule = StepRule(cell=16, stops=stops, thresholds=(0.0,) * (len(stops) - 1))
    measured = bytes_per_pixel(path, json.dumps(stops), script=ADAPTIVE)
    # Or nothing was measured; ONNX Runtime takes less where there is no AVX-512.
    assert once / 3 < measured
    assert measured <= once * adaptive_memory(rule)

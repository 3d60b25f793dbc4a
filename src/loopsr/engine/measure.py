"""Time one network on several backends, and compare their pictures: a process of its own.

    python -m loopsr.engine.measure < task.json > rows.json

In a process of its own so that runtimes that lose leave nothing behind in memory, and one that
crashes takes nothing with it. Candidates run in turns, so that a busy moment hits all.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.card import ModelCard
from loopsr.engine.backends import Backend, open_backend
from loopsr.errors import LoopsrError

_SIDE = 96  # input pixels of the test picture; smaller than a usual tile, to be quick
_ROUNDS = 9
_LEAST_ROUNDS = 3
_BUDGET = 0.6  # seconds, of all rounds together


def sample_picture(side: int = _SIDE) -> NDArray[np.float32]:
    """(1, 3, side, side) in [0, 1]: a sky, waves of all directions, hard edges, fine grain."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float64) / side
    picture = np.stack([0.55 + 0.3 * y, 0.65 + 0.2 * y, 0.9 - 0.1 * x])
    waves = 0.3 * np.sin(40 * (x**2 + y**2) * np.pi)
    picture[:, side // 2 :] = 0.5 + waves[side // 2 :]
    picture[:, side // 4 : side // 3, side // 4 : side // 2] = [[[0.05]], [[0.1]], [[0.9]]]
    picture[:, :, side // 3 : side // 3 + 2] = 0.02
    grain = np.random.default_rng(0).normal(0, 0.02, picture.shape)
    picture[:, side // 2 :, side // 2 :] += grain[:, side // 2 :, side // 2 :]
    levels: NDArray[np.float32] = (np.round(picture.clip(0, 1) * 255) / 255).astype(np.float32)
    return levels[None]


def measure(task: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a candidate: milliseconds (median) and spread, difference to the first one's picture.

    A candidate that cannot run gets a row with ``error``.
    """
    card = ModelCard.from_json(task["card"])
    pixels = sample_picture()
    rows: list[dict[str, Any]] = []
    backends: dict[int, Backend] = {}
    reference: NDArray[np.float32] | None = None
    for number, (backend, precision, path) in enumerate(task["candidates"]):
        row: dict[str, Any] = {"backend": backend, "precision": precision, "error": None}
        rows.append(row)
        try:
            backends[number] = open_backend(
                backend,
                card,
                Path(path),
                threads=task["threads"],
                iters=task["iters"],
                precision=precision,
            )
            output = backends[number].run(pixels)
        except LoopsrError as error:
            row["error"] = str(error)
            backends.pop(number, None)
            continue
        reference = output if reference is None else reference
        difference = output.astype(np.float64) - reference
        row["largest"] = float(np.abs(difference).max())
        row["rms"] = float(np.sqrt(np.mean(difference**2)))
    for number, times in _times(backends, pixels).items():
        rows[number]["milliseconds"] = round(1e3 * statistics.median(times), 2)
        rows[number]["fastest"] = round(1e3 * min(times), 2)
        rows[number]["slowest"] = round(1e3 * max(times), 2)
    return rows


def _times(backends: dict[int, Backend], pixels: NDArray[np.float32]) -> dict[int, list[float]]:
    times: dict[int, list[float]] = {number: [] for number in backends}
    begun = time.perf_counter()
    for done in range(_ROUNDS):
        if done >= _LEAST_ROUNDS and time.perf_counter() - begun > _BUDGET:
            break
        for number, backend in backends.items():
            start = time.perf_counter()
            backend.run(pixels)
            times[number].append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"rows": measure(json.load(sys.stdin))}) + "\n")

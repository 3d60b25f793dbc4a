"""Time and memory of the installed networks, and their scores, into their cards.

    python benchmarks/cards.py [--bench FOLDER] [--only loop-x4,...] [--dry-run]

Measures each network on ONNX Runtime, in float32 or what its file holds, one picture size: the
median time over rounds that take turns, and the memory that a run adds, in a process of its own.
With --bench also PSNR and SSIM on the sets in FOLDER. Then writes the cards inside the weight
files, the index of their hashes, and docs/models. The weights themselves stay as they are. Linux
only. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from model_pages import PAGES, write_pages
from report import processor

from loopsr.card import ModelCard
from loopsr.engine.backends import open_backend
from loopsr.engine.machine import cores
from loopsr.export.package import rewrite_card
from loopsr.train.evaluate import as_numbers, mean_score, score_folder
from loopsr.weights import catalogue

# Prints the bytes that a run adds to a process that has everything imported.
_MEMORY = """
import json, re, sys
import numpy as np
from pathlib import Path
from loopsr.engine.backends import open_backend
from loopsr.weights import catalogue

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

folder, name, width, height, threads = json.loads(sys.argv[1])
path = Path(folder) / f"{name}.onnx"
card = catalogue.read_card(path)
import onnxruntime
before = peak()
backend = open_backend("onnxruntime", card, path, threads=threads)
backend.run(np.zeros((1, 3, height, width), np.float32))
print(peak() - before)
"""


def measure_time(
    cards: list[ModelCard], *, size: tuple[int, int], rounds: int, threads: int
) -> dict[str, float]:
    """Median milliseconds of each network on a picture of ``size`` (width, height)."""
    width, height = size
    pixels = np.random.default_rng(0).random((1, 3, height, width), dtype=np.float32)
    backends = {
        card.name: open_backend(
            "onnxruntime", card, catalogue.FOLDER / f"{card.name}.onnx", threads=threads
        )
        for card in cards
    }
    times: dict[str, list[float]] = {name: [] for name in backends}
    for round_ in range(rounds + 1):  # the first warms up
        for name, backend in backends.items():
            start = time.perf_counter()
            backend.run(pixels)
            if round_:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: round(statistics.median(values), 1) for name, values in times.items()}


def measure_memory(name: str, *, size: tuple[int, int], threads: int) -> int:
    """Bytes that loading a network and one run add to a fresh process."""
    argument = json.dumps([str(catalogue.FOLDER), name, *size, threads])
    command = [sys.executable, "-c", _MEMORY, argument]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure_scores(card: ModelCard, bench: Path, sets: list[str]) -> dict[str, dict[str, float]]:
    """Mean figures of a network on each set."""
    from loopsr.engine.opener import open_model

    model = open_model(catalogue.FOLDER / f"{card.name}.onnx")
    return {
        name: as_numbers(mean_score(list(score_folder(model, bench / name, scale=card.scale))))
        for name in sets
    }


def _precision(card: ModelCard) -> str:
    return "int8" if catalogue.is_int8(card.name) else "float32"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--bench", type=Path, help="folder of benchmark sets: score anew")
    parser.add_argument("--sets", default="Set5,Set14,BSD100")
    parser.add_argument("--size", default="320x180", help="of the input, in pixels")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--pages", type=Path, default=PAGES, help="folder of the written pages")
    parser.add_argument("--dry-run", action="store_true", help="measure and print, write nothing")
    options = parser.parse_args(argv)
    match = re.fullmatch(r"(\d+)x(\d+)", options.size)
    if not match:
        parser.error(f"--size {options.size!r} is no size; write it as 320x180")
    size = int(match[1]), int(match[2])
    names = options.only.split(",") if options.only else catalogue.names()
    cards = [catalogue.find(name)[0] for name in names]
    times = measure_time(cards, size=size, rounds=options.rounds, threads=options.threads)
    for card in cards:
        memory = measure_memory(card.name, size=size, threads=options.threads)
        measured: dict[str, Any] = {
            "input": options.size,
            "milliseconds": times[card.name],
            "memory_mb": round(memory / 1e6),
            "threads": options.threads,
            "runtime": f"onnxruntime {onnxruntime.__version__}, {_precision(card)}",
            "processor": processor(),
            "date": datetime.date.today().isoformat(),
        }
        changed = dataclasses.replace(card, measured=measured)
        if options.bench:
            scores = measure_scores(card, options.bench, options.sets.split(","))
            changed = dataclasses.replace(changed, scores=card.scores | scores)
        print(json.dumps({"name": card.name, "measured": measured, "scores": changed.scores}))
        if not options.dry_run:
            rewrite_card(catalogue.FOLDER, changed)
            catalogue.write_index()  # after each, so that an interrupt leaves a whole catalogue
    if not options.dry_run:
        write_pages(options.pages)
    return 0


if __name__ == "__main__":
    sys.exit(main())

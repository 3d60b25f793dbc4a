"""Time of the installed networks, one picture size, interleaved on the same threads.

    python benchmarks/speed.py [--width 320 --height 180] [--rounds 9] [--threads N]

Prints the median and the spread of each network, and its ratio to ``lrn`` at the same scale.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np
from report import write_report
from rich.console import Console
from rich.table import Table

from loopsr.engine.backends import open_backend
from loopsr.engine.machine import cores
from loopsr.weights import catalogue


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=180)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=cores())
    options = parser.parse_args()
    pixels = np.random.default_rng(0).random(
        (1, 3, options.height, options.width), dtype=np.float32
    )
    backends = {
        name: open_backend(
            "onnxruntime",
            catalogue.card(name),
            catalogue.onnx_path(name),
            threads=options.threads,
        )
        for name in catalogue.names()
    }
    times: dict[str, list[float]] = {name: [] for name in backends}
    for round_ in range(options.rounds + 1):  # the first warms up
        for name, backend in backends.items():
            start = time.perf_counter()
            backend.run(pixels)
            if round_:
                times[name].append(1e3 * (time.perf_counter() - start))
    middle = {name: statistics.median(t) for name, t in times.items()}
    table = Table("model", "ms", "fastest", "slowest", "to lrn", "MACs a pixel")
    results = []
    for name, values in times.items():
        card = catalogue.card(name)
        ratio = middle[name] / middle[f"lrn-x{card.scale}"]
        macs = card.macs_per_pixel or 0
        cells = (middle[name], min(values), max(values))
        table.add_row(name, *(f"{v:.1f}" for v in cells), f"{ratio:.2f}", f"{macs:,}")
        numbers = dict(zip(("median_ms", "fastest_ms", "slowest_ms"), cells, strict=True))
        results.append({"model": name, "to_lrn": ratio, "macs_per_pixel": macs, **numbers})
    Console().print(f"{options.width}x{options.height}, {options.threads} threads, float32")
    Console().print(table)
    write_report("speed", results, threads=options.threads, size=[options.width, options.height])
    return 0


if __name__ == "__main__":
    sys.exit(main())

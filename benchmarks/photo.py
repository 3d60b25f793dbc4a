"""What the networks for photographs win on JPEG inputs, and what they lose on clean ones.

    python benchmarks/photo.py --bench FOLDER [--sets Set5,BSD100] [--scales 2,4]
                               [--plain loop] [--photo loop.photo]

FOLDER holds the sets (Set5/HR, ...). A model is a name or a file; a file has one scale. Each
picture gives three inputs: its bicubic reduction; the same through JPEG of quality 70, colours
halved; and one fate of the degradation `photo`, drawn by the picture's name. Prints PSNR-Y, writes
dated JSON to benchmarks/results and ends with exit code 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import RESULTS, write_report
from rich.console import Console
from rich.table import Table

from loopsr.data.degrade import degrade, pipeline
from loopsr.data.sets import pictures_of
from loopsr.data.sources import read_rgb
from loopsr.engine.opener import OpenModel, open_model
from loopsr.errors import LoopsrError
from loopsr.io.jpeg import recompress
from loopsr.metrics.psnr import psnr_y
from loopsr.train.evaluate import reduce_picture

Pixels = NDArray[np.uint8]
QUALITY = 70
LEAST_GAIN = 0.5  # dB of the photo network on JPEG inputs, against the plain one
MOST_LOSS = 0.4  # dB on clean inputs


def _photo(lr: Pixels, hr: Pixels, seed: int) -> Pixels:
    rng = np.random.default_rng(seed)
    return degrade(hr, scale=len(hr) // len(lr), steps=pipeline("photo"), rng=rng)


# name -> (bicubic reduction, sharp picture, seed) -> what the network gets
INPUTS: dict[str, Callable[[Pixels, Pixels, int], Pixels]] = {
    "clean": lambda lr, hr, seed: lr,
    "jpeg": lambda lr, hr, seed: recompress(lr, quality=QUALITY),
    "photo": _photo,
}


def measure(models: dict[str, OpenModel], folder: Path, *, scale: int) -> list[dict[str, Any]]:
    """Mean PSNR-Y of each model on each kind of input: rows of model, input, psnr_y."""
    scores: dict[tuple[str, str], list[float]] = {}
    for path in pictures_of(folder):
        lr, hr = reduce_picture(read_rgb(path), name=str(path), scale=scale)
        seed = zlib.crc32(path.name.encode())
        for kind, spoil in INPUTS.items():
            given = spoil(lr, hr, seed)
            for role, model in models.items():
                value = psnr_y(model(given), hr, border=scale)
                scores.setdefault((role, kind), []).append(value)
    return [
        {"model": role, "input": kind, "psnr_y": round(float(np.mean(values)), 3)}
        for (role, kind), values in scores.items()
    ]


def misses(results: Sequence[dict[str, Any]]) -> list[str]:
    """What is below a bar: ``photo`` against ``plain``, on every set and scale."""
    score = {(r["model"], r["input"], r["data"], r["scale"]): r["psnr_y"] for r in results}
    failed = []
    for data, scale in dict.fromkeys((r["data"], r["scale"]) for r in results):
        gain, change = (
            round(score["photo", kind, data, scale] - score["plain", kind, data, scale], 3)
            for kind in ("jpeg", "clean")
        )
        if gain < LEAST_GAIN:
            failed.append(
                f"x{scale} on {data}: {gain:+.2f} dB on JPEG inputs, at least "
                f"{LEAST_GAIN:+.2f} was wanted"
            )
        if change <= -MOST_LOSS:
            failed.append(
                f"x{scale} on {data}: {change:+.2f} dB on clean inputs, the loss should be "
                f"less than {MOST_LOSS:.2f}"
            )
    return failed


def show(results: Sequence[dict[str, Any]], names: dict[str, str]) -> None:
    """A row a scale, set and model, a column a kind of input."""
    headings = {"clean": "clean", "jpeg": f"JPEG {QUALITY}", "photo": "photo"}
    table = Table("scale", "set", "model", *headings.values(), title="PSNR-Y (dB)")
    cells: dict[tuple[int, str, str], dict[str, str]] = {}
    for row in results:
        key = (row["scale"], row["data"], row["model"])
        cells.setdefault(key, {})[row["input"]] = f"{row['psnr_y']:.2f}"
    for (scale, data, role), values in cells.items():
        table.add_row(f"x{scale}", data, names[role], *(values[kind] for kind in headings))
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bench", type=Path, required=True, help="folder of benchmark sets")
    parser.add_argument("--sets", default="Set5,Set14,BSD100")
    parser.add_argument("--scales", default="2,4")
    parser.add_argument("--plain", default="loop", help="trained on clean pictures")
    parser.add_argument("--photo", default="loop.photo", help="trained on spoilt ones")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    names = {"bicubic": "bicubic", "plain": options.plain, "photo": options.photo}
    results = []
    try:
        for scale in map(int, options.scales.split(",")):
            models = {
                role: open_model(name, scale=scale, threads=options.threads)
                for role, name in names.items()
            }
            for data in options.sets.split(","):
                rows = measure(models, options.bench / data, scale=scale)
                results += [{"data": data, "scale": scale, **row} for row in rows]
    except LoopsrError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    show(results, names)
    failed = misses(results)
    write_report("photo", results, folder=options.results, models=names, missed=failed)
    print("\n".join(failed) or "all bars are met")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

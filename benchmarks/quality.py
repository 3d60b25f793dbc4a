"""Quality of the installed weights on the benchmark sets, against the project's least bars.

    python benchmarks/quality.py --bench FOLDER [--sets Set5,BSD100] [--scales 2,3,4]

FOLDER holds the sets (Set5/HR, ...). Prints a table, writes dated JSON to benchmarks/results and
ends with exit code 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from report import RESULTS, fill_part, write_report
from rich.console import Console
from rich.table import Table

from loopsr.engine.opener import open_model
from loopsr.errors import LoopsrError
from loopsr.ops.resize import KERNELS
from loopsr.train.evaluate import as_numbers, mean_score, score_folder
from loopsr.weights import catalogue

MODELS = (*KERNELS, "lrn", "loop-xs", "loop-s", "loop")
# model -> those that it is to be better than
RIVALS = {"loop": ("lrn", "loop-s"), "loop-s": ("loop-xs",), "loop-xs": ("bicubic", "lanczos")}
# PSNR-Y of `loop` on Set5 in dB, which was reached and must not be lost.
BARS = {2: 37.6, 3: 33.8, 4: 31.5}


def measure(model: str, folder: Path, *, scale: int, threads: int | None) -> dict[str, float]:
    """Mean figures of one model on one set."""
    upscale = open_model(model, scale=scale, threads=threads)
    mean = mean_score(list(score_folder(upscale, folder, scale=scale)))
    return as_numbers(mean) | {"seconds": round(mean.values["seconds"], 4)}


def misses(results: list[dict[str, Any]]) -> list[str]:
    """What is below a bar: ``loop`` on Set5; on every set ``loop`` against ``lrn``, and each size
    against the one below, the smallest against bicubic."""
    score = {(r["model"], r["data"], r["scale"]): r["psnr_y"] for r in results}
    failed = []
    for (model, data, scale), value in score.items():
        if model == "loop" and data == "Set5" and value < BARS.get(scale, 0):
            failed.append(f"loop x{scale} on Set5: {value:.2f} dB, the bar is {BARS[scale]:.2f}")
        for rival in RIVALS.get(model, ()):
            other = score.get((rival, data, scale))
            if other is not None and value <= other:
                failed.append(
                    f"{model} x{scale} on {data}: {value:.2f} dB, {rival} has {other:.2f}"
                )
    return failed


def show(results: list[dict[str, Any]]) -> None:
    """A row a model and scale, a column a set: PSNR-Y and SSIM-Y."""
    sets = list(dict.fromkeys(r["data"] for r in results))
    table = Table("scale", "model", *sets, title="PSNR-Y / SSIM-Y, MATLAB bicubic input")
    for scale in sorted({r["scale"] for r in results}):
        for model in MODELS:
            rows = {r["data"]: r for r in results if (r["model"], r["scale"]) == (model, scale)}
            cells = [_cell(rows[s]) if s in rows else "" for s in sets]
            table.add_row(f"x{scale}", model, *cells)
    Console().print(table)


def fill_readme(results: list[dict[str, Any]], path: Path) -> None:
    """Write the table between the two marks of a Markdown file anew."""
    sets = list(dict.fromkeys(r["data"] for r in results))
    rows = [f"| | parameters | file | {' | '.join(sets)} |", "|---" * (3 + len(sets)) + "|"]
    scores = {(r["scale"], r["model"], r["data"]): r for r in results}
    for scale, model in sorted({(r["scale"], r["model"]) for r in results}, key=_table_order):
        name, size = f"{model} x{scale}", " | "
        if model not in KERNELS:
            name = f"`{model}-x{scale}`"
            kilobytes = catalogue.onnx_path(f"{model}-x{scale}").stat().st_size / 1000
            size = f"{catalogue.card(f'{model}-x{scale}').parameters:,} | {kilobytes:.0f} kB"
        cells = " | ".join(_cell(scores[scale, model, s]) for s in sets)
        rows.append(f"| {name} | {size} | {cells} |")
    fill_part(path, "models", "\n".join(rows))


def _cell(score: dict[str, Any]) -> str:
    return f"{score['psnr_y']:.2f} / {score['ssim_y']:.4f}"


def _table_order(row: tuple[int, str]) -> tuple[int, int]:
    return row[0], MODELS.index(row[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bench", type=Path, required=True, help="folder of benchmark sets")
    parser.add_argument("--sets", default="Set5,Set14,BSD100")
    parser.add_argument("--scales", default="2,3,4")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", type=Path, help="file whose table of models is written anew")
    options = parser.parse_args()
    results = []
    for scale in map(int, options.scales.split(",")):
        for name in options.sets.split(","):
            for model in MODELS:
                try:
                    numbers = measure(
                        model, options.bench / name, scale=scale, threads=options.threads
                    )
                except LoopsrError as error:
                    print(f"{model} x{scale}: {error}", file=sys.stderr)
                    return error.exit_code
                results.append({"model": model, "data": name, "scale": scale, **numbers})
    show(results)
    failed = misses(results)
    write_report("quality", results, folder=options.results, missed=failed)
    if options.readme:
        fill_readme(results, options.readme)
    print("\n".join(failed) or "all bars are met")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

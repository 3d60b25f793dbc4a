"""Quality of the installed weights on the benchmark sets, against the project's least bars.

    python benchmarks/quality.py --bench FOLDER [--sets Set5,BSD100] [--scales 2,3,4]

FOLDER holds the sets (Set5/HR, ...). Prints a table, writes dated JSON to benchmarks/results and
ends with exit code 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loopsr import Upscaler, __version__
from loopsr.errors import LoopsrError
from loopsr.train.evaluate import as_numbers, interpolation, mean_score, score_folder

MODELS = ("bicubic", "lanczos", "lrn", "loop")
BARS = {2: 37.2, 3: 33.4, 4: 31.1}  # least PSNR-Y of `loop` on Set5, dB


def measure(model: str, folder: Path, *, scale: int, threads: int | None) -> dict[str, float]:
    """Mean figures of one model on one set."""
    if model in ("bicubic", "lanczos"):
        upscale: Any = interpolation(model, scale=scale)
    else:
        upscale = Upscaler(f"{model}-x{scale}", threads=threads)
    return as_numbers(mean_score(list(score_folder(upscale, folder, scale=scale))))


def misses(results: list[dict[str, Any]]) -> list[str]:
    """What is below a bar: ``loop`` on Set5, and ``loop`` against ``lrn`` on every set."""
    score = {(r["model"], r["data"], r["scale"]): r["psnr_y"] for r in results}
    failed = []
    for (model, data, scale), value in score.items():
        if model != "loop":
            continue
        if data == "Set5" and value < BARS.get(scale, 0):
            failed.append(f"loop x{scale} on Set5: {value:.2f} dB, the bar is {BARS[scale]:.2f}")
        rival = score.get(("lrn", data, scale))
        if rival is not None and value <= rival:
            failed.append(f"loop x{scale} on {data}: {value:.2f} dB, lrn has {rival:.2f}")
    return failed


def show(results: list[dict[str, Any]]) -> None:
    """A row a model and scale, a column a set: PSNR-Y and SSIM-Y."""
    sets = list(dict.fromkeys(r["data"] for r in results))
    table = Table("scale", "model", *sets, title="PSNR-Y / SSIM-Y, MATLAB bicubic input")
    for scale in sorted({r["scale"] for r in results}):
        for model in MODELS:
            rows = {r["data"]: r for r in results if (r["model"], r["scale"]) == (model, scale)}
            cells = [
                f"{rows[s]['psnr_y']:.2f} / {rows[s]['ssim_y']:.4f}" if s in rows else ""
                for s in sets
            ]
            table.add_row(f"x{scale}", model, *cells)
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bench", type=Path, required=True, help="folder of benchmark sets")
    parser.add_argument("--sets", default="Set5,Set14,BSD100")
    parser.add_argument("--scales", default="2,3,4")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
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
    write(results, failed, options.results)
    print("\n".join(failed) or "all bars are met")
    return 1 if failed else 0


def write(results: list[dict[str, Any]], failed: list[str], folder: Path) -> None:
    """Dated JSON with what is needed to repeat the measurement."""
    folder.mkdir(parents=True, exist_ok=True)
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    today = datetime.date.today().isoformat()
    report = {
        "date": today,
        "commit": commit,
        "version": __version__,
        "processor": processor(),
        "missed": failed,
        "results": results,
    }
    text = json.dumps(report, indent=1) + "\n"
    (folder / f"quality-{today}.json").write_text(text, encoding="utf-8")


def processor() -> str:
    """The name of the CPU, as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())

"""float32, bfloat16 and int8 on each runtime, with all that this CPU has and with less.

    python benchmarks/isa.py [MODEL|FILE...] [--scale 2] [--size 320x180] [--rounds 9] [--threads N]

Most users' machines have AVX2 or VNNI, no AMX. oneDNN, which OpenVINO and torch compute with, takes
no more than ``ONEDNN_MAX_CPU_ISA`` allows; so each round times every network, runtime and precision
in one process a level, level after level. ONNX Runtime's own kernels (MLAS) cannot be limited so:
its rows exist once, and what they say of AVX2 has to be measured on a machine without more. Writes
dated JSON to benchmarks/results, with the size of each file and of each runtime's installation.
Run it on an idle machine. Without names: all networks at --scale and their twins in int8.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from report import RESULTS, write_report
from rich.console import Console
from rich.table import Table

from loopsr.apps.bench.entries import ALL, Entry, make_entries, runner
from loopsr.apps.bench.peaks import LIMIT
from loopsr.engine.machine import cores, cpu_features
from loopsr.errors import LoopsrError
from loopsr.weights import catalogue

# ONEDNN_MAX_CPU_ISA -> what that is; the first is the CPU as it is.
LEVELS = {"": "all", "AVX512_CORE": "AVX-512 without VNNI", "AVX2": "AVX2"}
ONEDNN = ("openvino", "torch")
_INNER = 3  # runs of a row in a round; the least counts, since the process is fresh
_WARM = 2


def run_once(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Milliseconds of each entry in this process, or why it cannot run; the entries take turns."""
    runs: dict[int, Any] = {}
    rows: list[dict[str, Any]] = [{} for _ in task["entries"]]
    for number, entry in enumerate(task["entries"]):
        try:
            runs[number] = runner(Entry(**entry).open(task["threads"]), size=task["size"])
            for _ in range(_WARM):
                runs[number]()
        except LoopsrError as error:
            runs.pop(number, None)
            rows[number] = {"error": str(error)}
    times: dict[int, list[float]] = {number: [] for number in runs}
    for _ in range(_INNER):
        for number, run in runs.items():
            start = time.perf_counter()
            run()
            times[number].append(1e3 * (time.perf_counter() - start))
    for number, found in times.items():
        rows[number] = {"milliseconds": min(found)}
    return rows


def measure(
    entries: list[Entry], *, size: tuple[int, int], rounds: int, threads: int
) -> list[dict[str, Any]]:
    """A row an entry and level: median and spread over the rounds."""
    found: dict[tuple[int, str], list[float]] = {}
    errors: dict[tuple[int, str], str] = {}
    for _ in range(rounds):
        for level in LEVELS:
            numbers = [n for n, e in enumerate(entries) if not level or e.backend in ONEDNN]
            task = {
                "entries": [dataclasses.asdict(entries[n]) for n in numbers],
                "size": size,
                "threads": threads,
            }
            for number, row in zip(numbers, _in_process(task, level), strict=True):
                if "error" in row:
                    errors[number, level] = row["error"]
                else:
                    found.setdefault((number, level), []).append(row["milliseconds"])
    return [
        {
            **_facts(entry),
            "isa": level,
            "milliseconds": statistics.median(times) if times else None,
            "fastest": min(times, default=None),
            "slowest": max(times, default=None),
            "error": errors.get((number, level)),
        }
        for number, entry in enumerate(entries)
        for level in LEVELS
        if (times := found.get((number, level), [])) or (number, level) in errors
    ]


def _in_process(task: dict[str, Any], level: str) -> list[dict[str, Any]]:
    environment = {key: value for key, value in os.environ.items() if key != LIMIT}
    if level:
        environment[LIMIT] = level
    command = [sys.executable, __file__, "--once"]
    done = subprocess.run(
        command, input=json.dumps(task), env=environment, text=True, stdout=subprocess.PIPE
    )
    if done.returncode:
        return [{"error": f"the process ended with {done.returncode}"} for _ in task["entries"]]
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def _facts(entry: Entry) -> dict[str, Any]:
    model = entry.open(1)
    scores = model.card.scores if model.card else {}
    return {
        "model": entry.label,
        "backend": entry.backend,
        "precision": entry.precision,
        "file_bytes": model.file.stat().st_size if model.file else None,
        "psnr_y": {name: score["psnr_y"] for name, score in scores.items()},
    }


def installed_size(package: str) -> int | None:
    """Bytes on disk of an installed package, without what it depends on."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = [Path(str(file.locate())) for file in files]
    return sum(path.stat().st_size for path in paths if path.is_file())


def _entries(options: argparse.Namespace) -> list[Entry]:
    models = options.models or [
        name for name in catalogue.names() if catalogue.card(name).scale == options.scale
    ]
    found = make_entries(
        models, scale=options.scale, backends=options.backend or [ALL], precisions=[ALL]
    )
    # A twin that was named itself is there once already.
    return [e for e in found if e.precision != "int8" or f"{e.model}.int8" not in models]


def show(rows: list[dict[str, Any]]) -> None:
    """A row a network, runtime and precision; a column a level, in milliseconds."""
    table = Table("model", "runtime", "precision", "kB", *LEVELS.values())
    for key in dict.fromkeys((r["model"], r["backend"], r["precision"]) for r in rows):
        own = [r for r in rows if (r["model"], r["backend"], r["precision"]) == key]
        cells = {r["isa"]: f"{r['milliseconds']:.1f}" if r["milliseconds"] else "-" for r in own}
        size = own[0]["file_bytes"]
        kilobytes = "" if size is None else f"{size / 1000:.0f}"
        table.add_row(*key, kilobytes, *(cells.get(level, "") for level in LEVELS))
    Console().print(table)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", help="names or files")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split("x"))))
    parser.add_argument("--backend", action="append", help="repeatable; all that are installed")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.once:
        print(json.dumps(run_once(json.load(sys.stdin))))
        return 0
    try:
        entries = _entries(options)
        size = options.size or (320, 180)
        rows = measure(entries, size=size, rounds=options.rounds, threads=options.threads)
    except LoopsrError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    show(rows)
    sizes = {name: installed_size(name) for name in dict.fromkeys(e.backend for e in entries)}
    print("installed: " + ", ".join(f"{n} {(s or 0) / 1e6:.0f} MB" for n, s in sizes.items()))
    write_report(
        f"isa_x{options.scale}",
        rows,
        folder=options.results,
        features=cpu_features(),
        threads=options.threads,
        size=list(size),
        rounds=options.rounds,
        installed_bytes=sizes,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

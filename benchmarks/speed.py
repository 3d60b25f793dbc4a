"""Every network, backend and precision that is installed here, beside the machine's limit.

    python benchmarks/speed.py [--data BSD100 --data-root FOLDER] [--guide docs/guide/speed.md]
                               [--plots docs/images] [--avx2] [--rounds 15] [--threads N]
                               [--precision float32 --precision int8]

Two tasks, 320x180 by four and 640x360 by two, each in turns as `loopsr bench` does it. Writes
dated JSON to benchmarks/results, prints frames a second, and with --guide writes them into the
part of a page that is marked for this kind of machine (`speed avx2`, `speed avx512`, ...), so that
one page tells of several. --avx2 measures openvino and torch alone, and keeps them from using more
than AVX2, as most laptops have it (`speed avx512 as avx2`). It leaves bfloat16 out, and so should
--precision on a processor without it, which takes up to fifty times as long. Run it on an idle
machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from report import RESULTS, fill_part, unit, write_report

from loopsr.apps.bench.entries import ALL, make_entries
from loopsr.apps.bench.peaks import LIMIT
from loopsr.apps.bench.plot import plot
from loopsr.apps.bench.report import Report, Row
from loopsr.apps.bench.run import run
from loopsr.data.sets import find_set
from loopsr.errors import LoopsrError

TASKS = ((4, (320, 180)), (2, (640, 360)))  # scale, width and height of the input
BARS = {"loop-x4": 20, "loop-s-x2": 30}  # frames a second on the best backend, 2 cores with AMX


def kind(features: Sequence[str]) -> str:
    """What sort of machine has these: avx2, avx512, amx, ...; in names of files and parts."""
    return unit(features).replace("-", "").lower() or "other"


def machine(report: Report) -> str:
    """What sort of machine a report is of, and what it was told to be taken for."""
    isa = os.environ.get(LIMIT, "").lower()
    return kind(report.machine["features"]) + (f" as {isa}" if isa else "")


def measure(options: argparse.Namespace) -> list[Report]:
    """A report a task, kept as JSON."""
    folders = {name: find_set(name, root=options.data_root) for name in options.data}
    reports = []
    for scale, size in TASKS:
        entries = make_entries(
            options.models, scale=scale, backends=options.backend, precisions=options.precision
        )
        if options.size:
            size = options.size
        report = run(
            entries, size=size, rounds=options.rounds, threads=options.threads, data=folders
        )
        facts = dataclasses.asdict(report)
        rows = facts.pop("rows")
        name = f"speed_x{scale}_{machine(report).replace(' ', '_')}"
        write_report(name, rows, folder=options.results, **facts, isa=os.environ.get(LIMIT, ""))
        if options.plots and report.sets:
            plot(report, options.plots / f"{name}.png")
        reports.append(report)
    return reports


def table(reports: list[Report]) -> str:
    """Markdown: a row a backend and precision, a column a network, frames a second and, in
    brackets, the share of the limit."""
    columns = [
        (report, model)
        for report in reports
        for model in dict.fromkeys(row.model for row in report.rows if row.backend)
    ]
    ways = dict.fromkeys(row.way for report in reports for row in report.rows if row.backend)
    heads = [f"`{model}` {report.size[0]}x{report.size[1]}" for report, model in columns]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for way in ways:
        cells = [
            next((_cell(row) for row in report.rows if (row.model, row.way) == (model, way)), "")
            for report, model in columns
        ]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: Row) -> str:
    share = "" if row.share is None else f" ({100 * row.share:.0f} %)"
    return f"{row.frames_per_second:.1f}{share}"


def against_bars(reports: list[Report]) -> list[str]:
    """A line a bar whose network is there: what the best backend reaches."""
    lines = []
    for model, bar in BARS.items():
        found = [row for report in reports for row in report.rows if row.model == model]
        if found:
            best = max(found, key=lambda row: row.frames_per_second)
            floor = f", {1 / best.share:.1f} times its limit" if best.share else ""
            lines.append(
                f"{model}: {best.frames_per_second:.1f} frames a second on {best.way}{floor}; "
                f"the bar for 2 cores with AMX is {bar}"
            )
    return lines


def fill_guide(reports: list[Report], path: Path) -> None:
    """Write the part of a page that tells frames a second on this kind of machine anew."""
    first = reports[0]
    peaks = ", ".join(
        f"{peak['gmacs_per_second']:.3g} GMAC/s in {name}" for name, peak in first.peaks.items()
    )
    intro = (
        "Frames a second, and in brackets the share of the machine's limit: "
        f"{first.machine['processor']} ({', '.join(first.machine['features'])}), "
        f"{first.threads} threads, {first.date}.\n"
        f"Its peak: {peaks}; {first.memory_gb_per_second:.0f} GB/s of memory."
    )
    fill_part(path, f"speed {machine(first)}", f"{intro}\n\n{table(reports)}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", help="all networks of the project without any")
    parser.add_argument("--backend", action="append", help="repeatable; all that are installed")
    parser.add_argument("--precision", action="append", help="repeatable; all that there are")
    parser.add_argument("--data", action="append", default=[], help="sets to score; repeatable")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split("x"))))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--avx2", action="store_true")
    parser.add_argument("--guide", type=Path, help="page whose table of speeds is written anew")
    parser.add_argument("--plots", type=Path, help="folder for the pictures")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    options.backend = options.backend or (["openvino", "torch"] if options.avx2 else [ALL])
    options.precision = options.precision or (["float32", "int8"] if options.avx2 else [ALL])
    if options.avx2:
        os.environ[LIMIT] = "AVX2"  # before the runtimes are loaded
    try:
        reports = measure(options)
    except LoopsrError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(table(reports))
    print("\n".join(against_bars(reports)))
    if options.guide:
        fill_guide(reports, options.guide)
    return 0


if __name__ == "__main__":
    sys.exit(main())

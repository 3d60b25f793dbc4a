"""``loopsr bench``: time, memory, quality and the machine's limit, side by side."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loopsr.cli.text import one_line, set_names, stdout, whole
from loopsr.errors import UsageError

if TYPE_CHECKING:
    from loopsr.apps.bench.report import Report, Row
    from loopsr.apps.bench.run import Tell


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text, re.A)
    if not match or "0" in (match[1], match[2]):
        raise click.BadParameter(f"got {text!r}, a size such as 320x180 was expected")
    return int(match[1]), int(match[2])


def _numbers(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d{1,4}(,\d{1,4})*", text, re.A):
        raise click.BadParameter(f"got {text!r}, numbers such as 1,2 were expected")
    return tuple(map(int, text.split(",")))


EPILOG = """\b
Examples:
  loopsr bench                               all networks at x4, bicubic and lanczos
  loopsr bench --backend all --precision all
  loopsr bench loop --scale 2 --size 640x360 --iters 1,2
  loopsr bench other.onnx --data Set5 --plot speed.png
"""


@click.command(epilog=EPILOG, short_help="Time networks beside the machine's limit.")
@click.argument("models", nargs=-1, metavar="[MODEL|FILE]...")
@click.option("--scale", type=click.IntRange(2, 8), help="Enlargement.  [of the first model, or 4]")
@click.option("--size", type=_size, metavar="WxH", default="320x180", help="Input.  [320x180]")
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="NAME",
    default=("onnxruntime",),
    help="Repeatable; all: whatever is installed.  [onnxruntime]",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    metavar="NAME",
    default=("float32",),
    help="float32, bfloat16, int8 or all; repeatable.  [float32]",
)
@click.option("--iters", type=_numbers, metavar="N,N", help="A row for each number of steps.")
@click.option("--data", multiple=True, metavar="FOLDER|NAME", help="Sharp pictures; repeatable.")
@click.option("--data-root", metavar="FOLDER", help="Where sets lie.  [$LOOPSR_DATA]")
@click.option("--rounds", type=whole(1000), metavar="N", default="9", help="Of measuring.  [9]")
@click.option("--threads", type=whole(1024), metavar="N", help="CPU threads.  [all]")
@click.option("--plot", type=Path, metavar="FILE", help="Draw into a .png, .svg or .pdf file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all figures.")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values.")
def command(
    models: tuple[str, ...],
    scale: int | None,
    size: tuple[int, int],
    backends: tuple[str, ...],
    precisions: tuple[str, ...],
    iters: tuple[int, ...] | None,
    data: tuple[str, ...],
    data_root: str | None,
    rounds: int,
    threads: int | None,
    plot: Path | None,
    as_json: bool,
    as_csv: bool,
) -> int:
    """Time networks in turns on one picture, with their memory, quality and the machine's limit.

    Without names all networks of the project run, bicubic and lanczos; files (ONNX, or with the
    extra spandrel a checkpoint) are added. `of limit` is the share of the speed that the machine's
    own peak would allow. PSNR is measured on --data, else quoted from the models' cards. Exit code
    1 when something that was asked for could not run.
    """
    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other; pass one of them")
    from loopsr.apps.bench.entries import ALL, make_entries
    from loopsr.apps.bench.run import run
    from loopsr.data.sets import find_set, pictures_of
    from loopsr.io.writer import same_file

    if plot is not None:
        from loopsr.apps.bench.plot import check_plot

        check_plot(plot)
    folders = list(dict.fromkeys(find_set(name, root=data_root) for name in data))
    if plot and any(same_file(plot, path) for folder in folders for path in pictures_of(folder)):
        raise UsageError(f"{plot} is a picture of --data; pass another --plot")
    sets = dict(zip(set_names(folders), folders, strict=True))
    entries = make_entries(
        models, scale=scale, backends=backends, precisions=precisions, iters=iters or ()
    )
    with _progress() as tell:
        report = run(entries, size=size, rounds=rounds, threads=threads, data=sets, tell=tell)
    _print(report, as_json=as_json, as_csv=as_csv)
    for left in report.left_out:
        click.echo(one_line(f"loopsr: left out: {left['model']}: {left['reason']}"), err=True)
    if plot is not None:
        from loopsr.apps.bench.plot import plot as draw

        draw(report, plot)
    asked_for_all = ALL in backends or ALL in precisions
    return 1 if report.left_out and not asked_for_all else 0


@contextmanager
def _progress() -> Iterator[Tell]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda what, done: progress.update(task, description=one_line(what), completed=done)


def _print(report: Report, *, as_json: bool, as_csv: bool) -> None:
    from dataclasses import asdict

    if as_json:
        click.echo(json.dumps(asdict(report), indent=1))
    elif as_csv:
        _print_csv(report)
    else:
        _print_table(report)


def _print_csv(report: Report) -> None:
    from dataclasses import asdict

    writer = None
    for row in report.rows:
        line = asdict(row)
        line["quartile_25"], line["quartile_75"] = line.pop("quartiles")
        scores = line.pop("psnr_y")
        line |= {f"psnr_y_{name}": scores.get(name) for name in report.sets}
        if writer is None:
            writer = csv.DictWriter(sys.stdout, list(line), lineterminator="\n")
            writer.writeheader()
        writer.writerow(line)


def _print_table(report: Report) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    ways = {row.way for row in report.rows if row.backend}
    sets = report.sets if report.quality == "measured" else report.sets[-1:]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("model", *(["runs on"] if len(ways) > 1 else [])):
        table.add_column(name, no_wrap=True)
    heads = ("kB", "ms", "quartiles", "per s", "MB", "GMACs", "limit ms", "of limit")
    for name in (*heads, *map(one_line, sets)):
        table.add_column(name, justify="right", no_wrap=True)
    for row in report.rows:
        scores = (row.psnr_y.get(name) for name in sets)
        cells = [*_cells(row), *(_text(score, 2) for score in scores)]
        way = [row.way or "numpy float64"] if len(ways) > 1 else []
        table.add_row(one_line(row.model), *way, *cells)
    console = stdout()
    console.print(table)
    for line in _notes(report):
        console.print(line, soft_wrap=True)


def _cells(row: Row) -> list[str]:
    low, high = row.quartiles
    return [
        _text(row.kilobytes, 0),
        _text(row.milliseconds, 1),
        f"{low:.1f}-{high:.1f}",
        _text(row.frames_per_second, 1),
        _text(row.peak_bytes and row.peak_bytes / 1e6, 0),
        _text(row.macs and row.macs / 1e9, 2),
        _text(row.limit_ms, 1),
        "" if row.share is None else f"{100 * row.share:.0f} %",
    ]


def _text(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _notes(report: Report) -> list[str]:
    """What a reader has to know: the task, the machine, its peak, where the PSNR is from."""
    (width, height), (wide, high) = report.size, report.output_size
    machine = report.machine
    threads = f"{report.threads} thread{'s' if report.threads > 1 else ''}"
    ways = list(dict.fromkeys(row.way for row in report.rows if row.backend))
    on = f", {ways[0]}" if len(ways) == 1 else ""
    notes = [
        f"{width}x{height} to {wide}x{high}, median of {report.rounds} rounds{on}, {threads}, "
        f"{machine['processor']} ({', '.join(machine['features'])})"
    ]
    if ways:
        peaks = ", ".join(
            f"{peak['gmacs_per_second']:.0f} GMAC/s in {name} ({peak['runtime']})"
            for name, peak in report.peaks.items()
        )
        notes.append(f"Limit: {peaks}; memory {report.memory_gb_per_second:.1f} GB/s.")
    if any((row.share or 0) > 1 for row in report.rows):
        notes.append(
            "Above 100 %: the runtime saves multiplications (Winograd), or the machine was busy "
            "when its peak was measured."
        )
    if any(not row.backend for row in report.rows):
        notes.append(
            "bicubic and lanczos are the exact ones that are scored, on one thread in double "
            "precision; image libraries are many times faster."
        )
    if report.quality == "measured":
        notes.append(f"{', '.join(report.sets)}: PSNR on luma in dB, measured.")
    elif report.quality == "cards":
        notes.append(f"{report.sets[-1]}: PSNR on luma in dB, as the models' cards state it.")
    return [one_line(note) for note in notes]

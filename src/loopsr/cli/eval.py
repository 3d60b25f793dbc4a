"""``loopsr eval``: measure models on folders of sharp pictures, as papers do."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loopsr.errors import UsageError

if TYPE_CHECKING:
    from loopsr.train.evaluate import Score, Upscale


@click.command("eval")
@click.argument("models", nargs=-1, required=True, metavar="MODEL|FILE|bicubic|lanczos...")
@click.option(
    "--data",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of sharp pictures, or of a set with a folder HR; repeatable.",
)
@click.option("--scale", required=True, type=click.IntRange(2, 8), help="Enlargement.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads.")
@click.option("--each", is_flag=True, help="Show every picture, not only the means.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values.")
def command(
    models: tuple[str, ...],
    data: tuple[Path, ...],
    scale: int,
    threads: int | None,
    each: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Measure PSNR and SSIM on pictures that are reduced by MATLAB's bicubic and upscaled again.

    psnr_y and ssim_y are those of papers: on MATLAB's luma (16..235), with a border of SCALE pixels
    cut; psnr_rgb and ssim_rgb are over the three channels. --json and --csv list every picture.
    """
    from loopsr.train.evaluate import mean_score, score_folder

    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other; pass one of them")
    rows: list[tuple[str, str, Score]] = []
    for model in models:
        upscale = _open(model, scale, threads)
        for folder in data:
            scores = list(score_folder(upscale, folder, scale=scale))
            rows += [(model, folder.name, score) for score in (*scores, mean_score(scores))]
    if as_json or as_csv:
        _print_plain(rows, scale, as_json=as_json)
    else:
        _print_table([row for row in rows if each or row[2].picture == "mean"], scale)


def _open(model: str, scale: int, threads: int | None) -> Upscale:
    from loopsr.ops.resize import KERNELS

    if model in KERNELS:
        from loopsr.train.evaluate import interpolation

        return interpolation(model, scale=scale)
    from loopsr.engine.upscaler import Upscaler

    upscaler = Upscaler(model, threads=threads)
    run: Callable[..., Any] = upscaler
    return lambda lr: run(lr, scale=scale)


def _print_plain(rows: Sequence[tuple[str, str, Score]], scale: int, *, as_json: bool) -> None:
    from loopsr.train.evaluate import as_numbers

    lines: list[dict[str, Any]] = [
        {"model": model, "data": data, "scale": scale, "picture": score.picture} | as_numbers(score)
        for model, data, score in rows
    ]
    if as_json:
        for line in lines:
            click.echo(json.dumps(line))
        return
    writer = csv.DictWriter(sys.stdout, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)


def _print_table(rows: Sequence[tuple[str, str, Score]], scale: int) -> None:
    from rich.console import Console
    from rich.table import Table

    from loopsr.train.evaluate import COLUMNS, as_numbers

    table = Table(title=f"x{scale}, border {scale} px, MATLAB bicubic input")
    for name in ("model", "data", "picture"):
        table.add_column(name)
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for model, data, score in rows:
        numbers = as_numbers(score)
        cells = [f"{numbers[c]:.2f}" if "psnr" in c else f"{numbers[c]:.4f}" for c in COLUMNS]
        mean = score.picture == "mean"
        table.add_row(Path(model).name, data, score.picture, *cells, style="bold" if mean else None)
    Console().print(table)

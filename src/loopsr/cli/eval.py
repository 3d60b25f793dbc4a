"""``loopsr eval``: measure models on folders of sharp pictures, as papers do."""

from __future__ import annotations

import csv
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loopsr.cli.text import named, one_line, set_names, stdout
from loopsr.errors import ImageError, UsageError

if TYPE_CHECKING:
    from loopsr.engine.opener import OpenModel
    from loopsr.train.evaluate import Score

    Row = tuple[OpenModel, str, Score]


@click.command("eval")
@click.argument("models", nargs=-1, required=True, metavar="MODEL|FILE...")
@click.option(
    "--data",
    multiple=True,
    required=True,
    metavar="FOLDER|NAME",
    help="Folder of sharp pictures, or of a set with a folder HR, or the name of a set in the "
    "folder of sets; repeatable.",
)
@click.option(
    "--data-root",
    metavar="FOLDER",
    help="Where the sets lie that --data names.  [default: $LOOPSR_DATA]",
)
@click.option("--scale", required=True, type=click.IntRange(2, 8), help="Enlargement.")
@click.option(
    "--self-ensemble", is_flag=True, help="The mean over 8 turns of each picture; named MODEL+."
)
@click.option("--lpips", is_flag=True, help="Measure LPIPS too; needs the extra lpips.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads.")
@click.option("--each", is_flag=True, help="Show every picture, not only the means.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values.")
def command(
    models: tuple[str, ...],
    data: tuple[str, ...],
    data_root: str | None,
    scale: int,
    self_ensemble: bool,
    lpips: bool,
    threads: int | None,
    each: bool,
    as_json: bool,
    as_csv: bool,
) -> int:
    """Measure PSNR and SSIM on pictures that are reduced by MATLAB's bicubic and upscaled again.

    A MODEL is a name of `loopsr models`, bicubic or lanczos, or a file of anybody's: an ONNX
    network, or with the extra spandrel a checkpoint (.safetensors, .pth).

    psnr_y and ssim_y are those of papers: on MATLAB's luma (16..235), with a border of SCALE pixels
    cut; psnr_rgb and ssim_rgb are over the three channels. --json and --csv list every picture and
    more conventions. A picture that cannot be measured is left out for all models; exit code 1.
    """
    from loopsr.data.sets import find_set, pictures_of
    from loopsr.engine.opener import numbered, open_model
    from loopsr.train.evaluate import METRICS, SHOWN

    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other; pass one of them")
    metrics = dict(METRICS)
    if lpips:
        from loopsr.metrics.lpips import open_lpips

        metrics["lpips"] = open_lpips()
    folders = list(dict.fromkeys(find_set(name, root=data_root) for name in data))
    sets = dict(zip(set_names(folders), map(pictures_of, folders), strict=True))
    _check_models(models)
    # All are opened before the first is measured: a wrong name is told at once.
    opened = [
        open_model(model, scale=scale, threads=threads, self_ensemble=self_ensemble)
        for model in models
    ]
    names = numbered(model.name for model in opened)
    opened = [replace(model, name=name) for model, name in zip(opened, names, strict=True)]
    left_out: set[Path] = set()
    rows = _measured(opened, sets, scale=scale, metrics=metrics, left_out=left_out)
    if as_json or as_csv:
        _print_plain(rows, as_json=as_json)
    else:
        columns = [*SHOWN, *(["lpips"] if lpips else []), "seconds"]
        _print_table([row for row in rows if each or row[2].picture == "mean"], columns, scale)
    _tell_left_out(sets, left_out)
    return 1 if left_out else 0


def _check_models(models: Sequence[str]) -> None:
    for model in models:
        if Path(model).is_dir():
            raise UsageError(
                f"{model} is a folder where a model was expected; put --data before each folder"
            )


def _measured(
    models: Sequence[OpenModel],
    sets: Mapping[str, Sequence[Path]],
    *,
    scale: int,
    metrics: Mapping[str, Any],
    left_out: set[Path],
) -> Iterator[Row]:
    """Every picture, then the mean, of each model on each set; as soon as it is known.

    A picture that cannot be measured is told of once, and added to ``left_out``.
    """
    from loopsr.train.evaluate import mean_score, score_folder

    total = sum(map(len, sets.values())) * len(models)
    with _progress() as progress:
        task = progress.add_task("", total=total)
        for model, (data, pictures) in itertools.product(models, sets.items()):
            progress.update(task, description=one_line(f"{model.name} on {data}"))
            scores = []
            for path in pictures:
                progress.advance(task)
                if path in left_out:
                    continue
                try:
                    (score,) = score_folder(model, path, scale=scale, metrics=metrics)
                except ImageError as error:
                    # What ails a picture shows with the first model. Were it left out later on,
                    # the means of the models so far would be of other pictures.
                    if model is not models[0]:
                        raise
                    left_out.add(path)
                    text = one_line(f"loopsr: error: {named(str(path), str(error))}")
                    progress.console.print(text, soft_wrap=True)  # above the bar
                    continue
                scores.append(score)
                yield model, data, score
            if scores:
                yield model, data, mean_score(scores)


def _tell_left_out(sets: Mapping[str, Sequence[Path]], left_out: set[Path]) -> None:
    """Say of how many pictures of each set the means are not."""
    for name, pictures in sets.items():
        missing, total = len(left_out.intersection(pictures)), len(pictures)
        if missing == total:
            text = f"error: no picture of {name} can be measured; pass another folder to --data"
        elif missing:
            text = f"note: the means leave out {missing} of {total} pictures of {name}"
        else:
            continue
        click.echo(one_line(f"loopsr: {text}"), err=True)


def _progress() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _print_plain(rows: Iterator[Row], *, as_json: bool) -> None:
    from loopsr.train.evaluate import as_json as columns

    writer = None
    for model, data, score in rows:
        line: dict[str, Any] = {
            "model": model.name,
            "kind": model.kind,
            "parameters": model.parameters,
            "data": data,
            "scale": model.scale,
            "picture": score.picture,
            **columns(score),
        }
        if as_json:
            click.echo(json.dumps(line))
            continue
        if writer is None:
            writer = csv.DictWriter(sys.stdout, list(line), lineterminator="\n")
            writer.writeheader()
        writer.writerow(line)


def _print_table(rows: Sequence[Row], names: Sequence[str], scale: int) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from loopsr.train.evaluate import as_text

    if not rows:  # not one picture could be measured
        return
    each = any(score.picture != "mean" for _, _, score in rows)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("model", "data", *(["picture"] if each else [])):
        table.add_column(name, no_wrap=True)
    for name in ("parameters", *names):
        table.add_column(name, justify="right", no_wrap=True)
    for model, data, score in rows:
        cells = [one_line(model.name), one_line(data)]
        if each:
            cells.append(one_line(score.picture))
        cells.append(f"{model.parameters:,}" if model.parameters else "")
        bold = "bold" if each and score.picture == "mean" else None
        table.add_row(*cells, *as_text(score, names), style=bold)
    console = stdout()
    console.print(table)
    luma = [model.name for model, _, score in rows if model.channels == 1]
    console.print(
        f"x{scale}. Input: MATLAB bicubic. A border of {scale} pixels is cut; _y: MATLAB's luma.",
        soft_wrap=True,
    )
    if luma:
        told = ", ".join(dict.fromkeys(map(one_line, luma)))
        console.print(f"Networks for luma alone, with bicubic colours: {told}", soft_wrap=True)

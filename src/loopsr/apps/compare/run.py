"""Upscale pictures by several models and lay the results side by side on one page."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from loopsr.apps.compare.page import Column, Page, Pixels, Sheet
from loopsr.data.sources import read_rgb
from loopsr.engine.opener import OpenModel, numbered, open_model
from loopsr.errors import Cancelled, ImageError, ImageWriteError, UnknownNameError, UsageError
from loopsr.io.parts import write_whole
from loopsr.io.writer import same_file
from loopsr.ops.resize import KERNELS
from loopsr.train.evaluate import digits, measure, reduce_picture

DEFAULT_MODELS = ("bicubic", "loop")
MAX_MODELS = 8
_DEFAULT_SCALE = 4
_HEADS = {"psnr_y": "PSNR, luma", "ssim_y": "SSIM, luma", "psnr_rgb": "PSNR, RGB"}


@dataclass(kw_only=True)
class Comparison:
    """What came of a comparison: the page's path, its bytes, and what failed, by picture.

    Without ``pictures`` there is no page.
    """

    page: Path
    scale: int
    models: tuple[str, ...]
    pictures: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    bytes: int = 0


def run(
    sources: Sequence[Path],
    page: Path,
    *,
    models: Sequence[str] = DEFAULT_MODELS,
    scale: int | None = None,
    reference: bool = False,
    max_pixels: int = 1_000_000,
    threads: int | None = None,
    progress: Callable[[float], bool] | None = None,
) -> Comparison:
    """Write ``page`` with one sheet a picture; a picture that fails does not stop the rest.

    With ``reference`` the pictures are sharp: each is reduced by MATLAB's bicubic, upscaled again
    and measured. ``scale`` None takes that of the first network. Inputs of more than
    ``max_pixels`` are cut to their middle. ``progress`` is told the fraction done and may return
    False to stop, which raises ``Cancelled`` and writes nothing; nor is a page written when every
    picture failed. Raises ``UsageError``, also for a page that is one of the inputs,
    ``WeightsError``, ``ImageWriteError``.
    """
    if not page.resolve().parent.is_dir():
        raise ImageWriteError(f"{page}: its folder does not exist; make it, or pass another -o")
    opened = _open(models, scale, threads)
    _check_page(page, [*sources, *(model.file for model in opened if model.file)])
    names = numbered(model.name for model in opened)
    done = Comparison(page=page, scale=opened[0].scale, models=tuple(names))
    book = Page(title=_title(names, done.scale), intro=_intro(reference), heads=_heads(reference))
    book.closing = ["Upscale yours: `loopsr upscale PHOTO.jpg`"]
    totals: list[list[dict[str, float]]] = [[] for _ in opened]
    for i, source in enumerate(sources):

        def report(share: float, first: int = i) -> None:
            if progress is not None and progress((first + share) / len(sources)) is False:
                raise Cancelled("stopped by the progress callback; nothing was written")

        try:
            sheet, values = _sheet(source, opened, names, reference, max_pixels, report)
        except ImageError as error:
            done.failures[str(source)] = str(error)
            continue
        book.add(sheet)
        done.pictures.append(str(source))
        for row, value in zip(totals, values, strict=True):
            row.append(value)
    if not done.pictures:
        return done
    if reference and len(done.pictures) > 1:
        book.means = _means(opened, names, totals)
    done.bytes = _write(page, book.html())
    return done


def _open(models: Sequence[str], scale: int | None, threads: int | None) -> list[OpenModel]:
    """The models, all of one scale; a single one gets bicubic beside it."""
    if len(models) == 1 and models[0] not in KERNELS:
        models = ("bicubic", *models)
    if not 2 <= len(models) <= MAX_MODELS:
        raise UsageError(
            f"{len(models)} models were given, 2 to {MAX_MODELS} are compared; pass --models a,b"
        )
    networks = [model for model in models if model not in KERNELS]
    if scale is None and networks:
        try:
            scale = open_model(networks[0], threads=threads).scale
        except UnknownNameError:  # a name without -xN
            scale = None
    scale = scale or _DEFAULT_SCALE
    return [open_model(model, scale=scale, threads=threads) for model in models]


def _check_page(page: Path, inputs: Sequence[Path]) -> None:
    """Raise ``UsageError`` when writing the page would destroy a picture or a network."""
    for path in inputs:
        if same_file(page, path):
            raise UsageError(
                f"{page} is the input {path}; an input is never overwritten, pass another -o"
            )


def _sheet(
    source: Path,
    models: Sequence[OpenModel],
    names: Sequence[str],
    reference: bool,
    max_pixels: int,
    report: Callable[[float], None],
) -> tuple[Sheet, list[dict[str, float]]]:
    """A picture's sheet, and for each model its measures and seconds."""
    scale = models[0].scale
    picture = read_rgb(source)
    whole = picture.shape
    picture = _middle(picture, max_pixels * (scale**2 if reference else 1))
    lr, hr = (
        reduce_picture(picture, name=str(source), scale=scale) if reference else (picture, None)
    )
    columns, values = [], []
    for i, (model, name) in enumerate(zip(models, names, strict=True)):
        report(i / len(models))
        start = time.perf_counter()
        output = model(lr)
        value = {"seconds": time.perf_counter() - start}
        if hr is not None:
            value |= measure(output, hr, name=str(source), scale=scale)
        columns.append(Column(name=name, pixels=output, cells=_cells(model, value)))
        values.append(value)
    height, width = columns[0].pixels.shape[:2]
    note = f"{lr.shape[1]} x {lr.shape[0]} pixels, upscaled to {width} x {height}."
    if picture.shape != whole:
        note += f" The middle of {whole[1]} x {whole[0]} pixels."
    return (
        Sheet(
            name=source.name,
            input=lr,
            columns=columns,
            reference=hr,
            right=len(columns) - 1,
            note=note,
        ),
        values,
    )


def _middle(picture: Pixels, most: int) -> Pixels:
    """The middle of a picture, in its aspect, when it has more than ``most`` pixels."""
    height, width = picture.shape[:2]
    if height * width <= most:
        return picture
    shrink = (most / (height * width)) ** 0.5
    rows, columns = max(1, int(height * shrink)), max(1, int(width * shrink))
    top, left = (height - rows) // 2, (width - columns) // 2
    return picture[top : top + rows, left : left + columns]


def _heads(reference: bool) -> list[str]:
    return ["model", "parameters", "seconds", *(_HEADS.values() if reference else ())]


def _cells(model: OpenModel, values: dict[str, float]) -> list[str]:
    parameters = f"{model.parameters:,}" if model.parameters else ""
    names = ["seconds", *_HEADS] if "psnr_y" in values else ["seconds"]
    return [parameters, *(f"{values[name]:.{digits(name)}f}" for name in names)]


def _means(
    models: Sequence[OpenModel], names: Sequence[str], totals: Sequence[Sequence[dict[str, float]]]
) -> list[list[str]]:
    rows = []
    for model, name, values in zip(models, names, totals, strict=True):
        mean = {key: float(np.mean([value[key] for value in values])) for key in values[0]}
        rows.append([name, *_cells(model, mean)])
    return rows


def _title(names: Sequence[str], scale: int) -> str:
    return f"{scale} times larger: {', '.join(names[:-1])} and {names[-1]}"


def _intro(reference: bool) -> list[str]:
    drag = "Drag the line over a picture, or use the arrow keys."
    if not reference:
        return [drag]
    return [
        f"Each sharp picture was reduced by MATLAB's bicubic and upscaled again. {drag}",
        "Figures are in the convention of papers, with a border as wide as the scale cut off; "
        "higher is better.",
    ]


def _write(page: Path, text: str) -> int:
    """Write a file that appears only when it is complete; returns its bytes."""
    data = text.encode()
    try:
        write_whole(page, data)
    except OSError as error:
        raise ImageWriteError(
            f"{page} cannot be written ({error.strerror or error}); pass another -o"
        ) from error
    return len(data)

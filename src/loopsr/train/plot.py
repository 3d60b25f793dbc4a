"""The logs of runs as one picture: quality, loss and the time of a step. Needs matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loopsr.errors import MissingExtraError, TrainingError, UsageError
from loopsr.io.parts import write_whole
from loopsr.train import history

SUFFIXES = (".png", ".svg", ".pdf")
Line = dict[str, Any]

# title, key of the horizontal axis with its divisor and label, keys of the curves, log scale
_PANELS: tuple[tuple[str, tuple[str, float, str], tuple[str, ...], bool], ...] = (
    ("PSNR on luma, validation pictures (dB)", ("step", 1e3, "thousand steps"), ("psnr_y",), False),
    ("PSNR on luma, validation pictures (dB)", ("seconds", 3600, "hours"), ("psnr_y",), False),
    ("loss", ("step", 1e3, "thousand steps"), ("loss",), False),
    (
        "a step (ms): network, and dashed the loader",
        ("step", 1e3, "thousand steps"),
        ("net_ms", "data_ms"),
        True,
    ),
)


def plot(runs: Sequence[Path], target: Path) -> None:
    """Draw the logs of run folders (or log files) into ``target``, a .png, .svg or .pdf file.

    Raises ``UsageError`` for a run without a log, ``TrainingError`` when the file cannot be
    written, ``MissingExtraError``.
    """
    if target.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{target} is no picture to plot into; pass a name in .png, .svg or .pdf")
    logs = [_read(run) for run in runs]
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("plotting", "train") from error
    figure = Figure(figsize=(12, 8), layout="constrained")
    for axes, (title, (across, unit, label), keys, log_scale) in zip(
        figure.subplots(2, 2).flat, _PANELS, strict=True
    ):
        for number, lines in enumerate(logs):
            for key, style in zip(keys, ("-", "--"), strict=False):
                known = [line for line in lines if across in line and _drawable(line, key)]
                axes.plot(
                    [line[across] / unit for line in known],
                    [max(line[key], 1e-3) if log_scale else line[key] for line in known],
                    style,
                    color=f"C{number % 10}",
                    marker="." if len(known) < 30 else None,
                )
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
        if log_scale:
            axes.set_yscale("log")
    curves = figure.axes[0].get_lines()
    figure.legend(curves, _names(runs), loc="outside lower center", ncols=min(4, len(runs)))
    try:
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=110, format=target.suffix[1:].lower())
        write_whole(target, drawn.getvalue())
    except OSError as error:
        raise TrainingError(
            f"{target} cannot be written ({error.strerror or error}); pass another --out"
        ) from error


def _read(run: Path) -> list[Line]:
    path = run / history.LOG if run.is_dir() else run
    if not path.is_file():
        raise UsageError(f"no {history.LOG} in {run}; pass the --out folder of a run")
    lines = history.read(path)
    if not lines:
        raise UsageError(f"{path} has no line yet; one is written at every validation")
    return lines


def _drawable(line: Line, key: str) -> bool:
    return isinstance(line.get(key), int | float)


def _names(runs: Sequence[Path]) -> list[str]:
    """Folder names; longer ones where two runs would be called alike."""
    folders = [run if run.is_dir() else run.parent for run in (r.resolve() for r in runs)]
    short = [folder.name for folder in folders]
    alike = len(set(short)) < len(short)
    return [f"{f.parent.name}/{f.name}" if alike else f.name for f in folders]

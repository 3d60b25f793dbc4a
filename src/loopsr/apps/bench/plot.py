"""The report as one picture: PSNR over time and over the size of the file. Needs matplotlib."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from loopsr.apps.bench.report import Report, Row, pareto_front
from loopsr.errors import ImageWriteError, MissingExtraError, UsageError
from loopsr.io.parts import write_whole

SUFFIXES = (".png", ".svg", ".pdf")
_MARKERS = {"": "D", "onnxruntime": "o", "openvino": "s", "ncnn": "^", "torch": "v"}
_FILLS: dict[str, Any] = {"float32": "full", "": "full", "bfloat16": "left", "int8": "none"}
_AROUND = ((6, 6), (6, -13))  # where labels stand in turns, in points
_LOG_FROM = 3  # ratio of the costs from which their axis is logarithmic


def check_plot(target: Path) -> None:
    """Raise ``UsageError`` or ``MissingExtraError`` when nothing could be drawn into ``target``."""
    if target.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{target} is no picture to plot into; pass a name in .png, .svg or .pdf")
    if not target.resolve().parent.is_dir():
        raise UsageError(f"there is no folder for {target}; make it, or pass another --plot")
    _figure_class()


def plot(report: Report, target: Path) -> None:
    """Draw ``report`` into ``target``, a .png, .svg or .pdf file, with the last of its sets.

    Rows without a score are left out and counted in the title. Raises ``UsageError`` when none has
    one, ``MissingExtraError``, ``ImageWriteError``.
    """
    check_plot(target)
    if not report.sets:
        raise UsageError("no row has a PSNR to plot; pass --data with a folder of sharp pictures")
    name = report.sets[-1]
    rows = [row for row in report.rows if name in row.psnr_y]
    figure = _figure_class()(figsize=(13, 6.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    colours = {model: f"C{n % 10}" for n, model in enumerate(dict.fromkeys(r.model for r in rows))}
    _panel(left, [(row, row.milliseconds) for row in rows], name, colours)
    sized: dict[tuple[str, str], Row] = {}  # the file is the same on every backend
    for row in rows:
        if row.kilobytes is not None:
            sized.setdefault((row.model, row.precision), row)
    _panel(right, [(row, row.kilobytes or 0.0) for row in sized.values()], name, colours)
    left.set_ylabel(f"PSNR on luma, {name} (dB)")
    left.set_xlabel("time of a picture (ms), median; the bar spans the quartiles")
    right.set_xlabel("size of the weight file (kB)")
    handles = _legend(rows, colours)
    figure.legend(handles=handles, fontsize=8, loc="outside lower center", ncols=6)
    figure.suptitle(_title(report, len(report.rows) - len(rows)), fontsize=10)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=target.suffix[1:].lower(), dpi=110)
    try:
        write_whole(target, drawn.getvalue())
    except OSError as error:
        raise ImageWriteError(
            f"{target} cannot be written ({error.strerror or error}); pass another --plot"
        ) from error


def _panel(axes: Any, points: list[tuple[Row, float]], name: str, colours: dict[str, str]) -> None:
    """Points over a cost, and the front of those that no other beats."""
    spots = [(cost, row.psnr_y[name]) for row, cost in points]
    front = pareto_front(spots)
    lines = [[spots[i][axis] for i in front] for axis in (0, 1)]
    axes.plot(*lines, color="0.6", linewidth=1.2, drawstyle="steps-post", zorder=1)
    for row, cost in points:
        spread = [[max(0.0, cost - row.quartiles[0])], [max(0.0, row.quartiles[1] - cost)]]
        axes.errorbar(
            cost,
            row.psnr_y[name],
            xerr=spread if cost == row.milliseconds else None,
            color=colours[row.model],
            marker=_MARKERS.get(row.backend, "P"),
            fillstyle=_FILLS.get(row.precision, "full"),
            markersize=8,
        )
    for count, number in enumerate(front):
        text, place = points[number][0].model, _AROUND[count % len(_AROUND)]
        axes.annotate(text, spots[number], place, textcoords="offset points", fontsize=8)
    axes.margins(x=0.18, y=0.12)
    axes.grid(alpha=0.3)
    costs = [cost for cost, _ in spots]
    if costs and max(costs) > _LOG_FROM * min(costs):
        from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _legend(rows: list[Row], colours: dict[str, str]) -> list[Any]:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker="o", linestyle="", label=model)
        for model, colour in colours.items()
    ]
    for way in dict.fromkeys((row.backend, row.precision) for row in rows):
        backend, precision = way
        handles.append(
            Line2D(
                [],
                [],
                color="0.3",
                marker=_MARKERS.get(backend, "P"),
                fillstyle=_FILLS.get(precision, "full"),
                linestyle="",
                label=f"{backend} {precision}" if backend else "interpolation",
            )
        )
    handles.append(Line2D([], [], color="0.6", label="Pareto front: none is better and costs less"))
    return handles


def _title(report: Report, missing: int) -> str:
    """What was measured where, and where the PSNR comes from."""
    width, height = report.size
    wide, high = report.output_size
    processor, threads = report.machine["processor"], report.threads
    title = (
        f"{width}x{height} to {wide}x{high}, {processor}, "
        f"{threads} thread{'s' if threads > 1 else ''}, {report.date}"
    )
    source = {
        "measured": f"PSNR measured on {report.sets[-1]}",
        "cards": f"PSNR on {report.sets[-1]} as the models' cards state it",
    }[report.quality]
    told = f"{source}; {missing} row{'s' if missing > 1 else ''} without one" if missing else source
    return f"{title}\n{told}"


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("plotting", "plot") from error
    return Figure

"""Measure entries in turns, and all that belongs beside their times."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from loopsr import __version__
from loopsr.apps.bench import peaks
from loopsr.apps.bench.entries import Entry, runner
from loopsr.apps.bench.memory import peak_memory
from loopsr.apps.bench.report import Report, Row
from loopsr.apps.bench.work import Work, count_work
from loopsr.engine.backends import BACKENDS
from loopsr.engine.machine import cores, cpu_features, cpu_name, free_memory
from loopsr.engine.opener import OpenModel
from loopsr.errors import BackendError, LoopsrError, UsageError
from loopsr.metrics.psnr import psnr_y
from loopsr.train.evaluate import mean_score, score_folder

# Told what is being done now, and the fraction that is done.
Tell = Callable[[str, float], None]
Key = TypeVar("Key")
_BYTES_PER_PIXEL = 2500  # the most that a network of ours takes
_PAUSE = 0.01  # seconds before each run, so that threads of the last one have gone to sleep
_METRICS = {"psnr_y": psnr_y}
_SETS = ("Set5", "Set14", "BSD100")
_PACKAGES = (*BACKENDS, "numpy", "pyvips", "spandrel")


def run(
    entries: Sequence[Entry],
    *,
    size: tuple[int, int] = (320, 180),
    rounds: int = 9,
    threads: int | None = None,
    data: Mapping[str, Path] | None = None,
    tell: Tell = lambda what, done: None,
) -> Report:
    """Measure ``entries``, all of one scale, on a picture of ``size`` (width, height).

    All take turns, ``rounds`` times after one run that does not count, together with the matrix
    products that show the machine's peak. ``data`` maps names of sets to folders of sharp pictures
    that are scored; without it the cards' scores are quoted, where the row is what the card
    measured. Entries that cannot run here are named in the report. Raises ``UsageError`` for a
    picture that does not fit into memory, ``LoopsrError`` when no entry is left, and for whatever
    goes wrong later.
    """
    threads = threads or cores()
    _check_memory(size)
    report = _report(entries, size, rounds, threads)
    models, runs = _opened(entries, size, threads, report, tell)
    works = {entry: count_work(model, size=size) for entry, model in models.items()}
    probes = peaks.probes(threads)
    copies = {held: peaks.copying(held, threads) for held in _held(works)}
    times, rates, copied = _timed(runs, probes, copies, rounds=rounds, tell=tell)
    best = peaks.best(rates)
    report.peaks = {
        name: {"gmacs_per_second": round(rate / 1e9, 1), "runtime": runtime}
        for name, (rate, runtime) in sorted(best.items())
    }
    speeds = {
        held: 2 * held * peaks.repeats(held) / min(seconds) for held, seconds in copied.items()
    }
    report.memory_gb_per_second = round(speeds[peaks.LARGE] / 1e9, 2)
    for number, (entry, model) in enumerate(models.items()):
        tell(f"memory of {entry.label} {entry.backend}", number / len(models))
        row = _row(entry, model, times[entry])
        row.peak_bytes = peak_memory(entry, size=size, threads=threads)
        _add_limit(row, works[entry], best, speeds)
        report.rows.append(row)
    if data:
        report.quality, report.sets = "measured", list(data)
        _score(report.rows, models, data, tell)
    else:
        _quote(report, models)
    return report


def _report(entries: Sequence[Entry], size: tuple[int, int], rounds: int, threads: int) -> Report:
    return Report(
        date=datetime.date.today().isoformat(),
        version=__version__,
        machine={
            "processor": cpu_name(),
            "features": cpu_features(),
            "cores": cores(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        packages={name: version for name in _PACKAGES if (version := _version(name))},
        threads=threads,
        scale=entries[0].scale,
        size=size,
        rounds=rounds,
    )


def _check_memory(size: tuple[int, int]) -> None:
    """Refuse what the system would kill us for: networks run on the picture in one piece."""
    need, free = size[0] * size[1] * _BYTES_PER_PIXEL, free_memory()
    if need > free:
        raise UsageError(
            f"{size[0]}x{size[1]} pixels in one piece may take {need >> 20} MB, {free >> 20} are "
            "free; pass a smaller --size"
        )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _opened(
    entries: Sequence[Entry],
    size: tuple[int, int],
    threads: int,
    report: Report,
    tell: Tell,
) -> tuple[dict[Entry, OpenModel], dict[Entry, Callable[[], object]]]:
    """The entries that run here, each after one run; others are noted in the report."""
    models: dict[Entry, OpenModel] = {}
    runs: dict[Entry, Callable[[], object]] = {}
    reason: LoopsrError | None = None
    for number, entry in enumerate(entries):
        tell(f"opening {entry.label} {entry.backend}", number / len(entries))
        try:
            model = entry.open(threads)
            upscale = runner(model, size=size)
            upscale()
        except BackendError as error:  # such as a CPU without bfloat16
            reason = error
            left = {"model": entry.label, "backend": entry.backend, "precision": entry.precision}
            report.left_out.append({**left, "reason": str(error)})
            continue
        models[entry], runs[entry] = model, upscale
    if reason is not None and not runs:
        raise reason
    return models, runs


def _held(works: Mapping[Entry, Work | None]) -> set[int]:
    """Sizes of memory whose speed is asked for: of the largest layers, and one beyond caches."""
    sizes = {
        _rounded(work.held(entry.precision))
        for entry, work in works.items()
        if work is not None and work.largest
    }
    return sizes | {peaks.LARGE}


def _rounded(held: int) -> int:
    """To a power of two, so that there are few; half of it, since a copy has two sides."""
    most: int = min(peaks.LARGE, 1 << max(16, held.bit_length() - 1))
    return most


def _timed(
    runs: Mapping[Entry, Callable[[], object]],
    probes: Mapping[tuple[str, str], Callable[[], object]],
    copies: Mapping[int, Callable[[], object]],
    *,
    rounds: int,
    tell: Tell,
) -> tuple[dict[Entry, list[float]], dict[tuple[str, str], list[float]], dict[int, list[float]]]:
    """Seconds of each, measured in turns, so that a busy moment hits all alike."""
    groups: tuple[Any, ...] = (runs, probes, copies)
    found: tuple[Any, ...] = tuple({key: [] for key in group} for group in groups)
    for round_ in range(rounds + 1):  # the first one only warms up
        for group, times in zip(groups, found, strict=True):
            for key, upscale in group.items():
                tell(f"round {round_} of {rounds}", round_ / (rounds + 1))
                time.sleep(_PAUSE)
                start = time.perf_counter()
                upscale()
                if round_:
                    times[key].append(time.perf_counter() - start)
    return found[0], found[1], found[2]


def _row(entry: Entry, model: OpenModel, seconds: Sequence[float]) -> Row:
    median = statistics.median(seconds)
    low, high = np.percentile(seconds, (25, 75))
    return Row(
        model=entry.label,
        kind=model.kind,
        backend=entry.backend,
        precision=entry.precision,
        iters=model.card.iters if model.card else None,
        parameters=model.parameters,
        kilobytes=round(model.file.stat().st_size / 1000, 1) if model.file else None,
        milliseconds=round(1e3 * median, 3),
        quartiles=(round(1e3 * float(low), 3), round(1e3 * float(high), 3)),
        fastest=round(1e3 * min(seconds), 3),
        slowest=round(1e3 * max(seconds), 3),
        frames_per_second=round(1 / median, 2),
    )


def _add_limit(
    row: Row,
    work: Work | None,
    best: Mapping[str, tuple[float, str]],
    speeds: Mapping[int, float],
) -> None:
    """The least time for the row's work, where the machine's peak in its precision is known."""
    if work is None:
        return
    row.macs = work.macs
    row.bytes_moved = work.moved(row.precision) or None
    if row.precision not in best:
        return
    seconds, row.limited_by = peaks.floor_seconds(
        macs=work.macs,
        moved=work.moved(row.precision),
        macs_per_second=best[row.precision][0],
        bytes_per_second=speeds[
            _rounded(work.held(row.precision)) if work.largest else peaks.LARGE
        ],
    )
    row.limit_ms = round(1e3 * seconds, 3)
    row.share = round(row.limit_ms / row.milliseconds, 4)


def _score(
    rows: Sequence[Row],
    models: Mapping[Entry, OpenModel],
    data: Mapping[str, Path],
    tell: Tell,
) -> None:
    """PSNR on each set. A backend does not change it, a precision may: each is scored once."""
    known: dict[tuple[str, str, str], float] = {}
    for number, (row, model) in enumerate(zip(rows, models.values(), strict=True)):
        for name, folder in data.items():
            tell(f"{row.model} on {name}", number / len(rows))
            key = (row.model, row.precision, name)
            if key not in known:
                scores = list(score_folder(model, folder, scale=model.scale, metrics=_METRICS))
                known[key] = round(mean_score(scores).values["psnr_y"], 3)
            row.psnr_y[name] = known[key]


def _quote(report: Report, models: Mapping[Entry, OpenModel]) -> None:
    """The cards' scores, of rows that run all steps in float32 as the cards' measurement did."""
    for row, (entry, model) in zip(report.rows, models.items(), strict=True):
        plain = entry.iters is None and entry.precision != "bfloat16"
        if model.card is None or not plain:
            continue
        row.psnr_y = {
            name: score["psnr_y"] for name, score in model.card.scores.items() if "psnr_y" in score
        }
    found = {name for row in report.rows for name in row.psnr_y}
    # The last one is what a table and a plot show: the largest of the usual three.
    report.sets = sorted(found, key=lambda name: (name in _SETS and _SETS.index(name) + 1, name))
    report.quality = "cards" if found else ""

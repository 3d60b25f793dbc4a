"""Find out where a network may stop early, and write the rule into its card.

    python -m loopsr.export.calibrate loop-x4 --hr FOLDER... --loss 0.15

Runs the network in every number of steps on reductions of training pictures. Cells are sorted by
how much detail they hold (``loopsr.engine.detail``); the thresholds between the stops are those
with the fewest steps at a given mean loss of PSNR against all steps. Where one stop is no step at
all, the weights that sharpen bicubic are fitted as well. The figures go into the two files of a
model that ships, or, for a path, into that file and its twin of the other kind beside it.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.card import ModelCard
from loopsr.data.degrade import pipeline
from loopsr.data.sources import Pairs, find_pictures, load_pairs
from loopsr.engine.backends import open_backend
from loopsr.engine.detail import cell_sums, detail
from loopsr.errors import LoopsrError, UsageError
from loopsr.export.package import rewrite_card
from loopsr.metrics.psnr import luma
from loopsr.ops.enlarge import CLASSES, differences, enlarge, sharpened
from loopsr.weights import catalogue

LOSS = 0.15  # dB, mean over the pictures
CELL = 16  # input pixels; smaller ones save more steps, and lose more time around them
_BINS = 256  # of detail, each with as many cells
_ROUNDS = 40  # of the search for the price of a step
_NEVER = 1e6  # more detail than there is

Floats = NDArray[np.float64]
Outcome = tuple[list[float], float, float]  # thresholds, mean loss in dB, mean steps


@dataclasses.dataclass(frozen=True)
class Cells:
    """The cells of one picture: detail (n,), squared errors in levels of luma after 0 (sharpened
    bicubic), 1, 2... steps (1 + steps, n), pixels (n,) of the large picture."""

    detail: Floats
    errors: Floats
    pixels: Floats

    def psnr(self, errors: Floats) -> float:
        """PSNR in dB of the picture when its cells have these squared errors."""
        return float(10 * np.log10(255**2 * self.pixels.sum() / max(errors.sum(), 1e-9)))


def measure(
    card: ModelCard,
    path: Path,
    pairs: Pairs,
    *,
    cell: int,
    sharpen: Sequence[float],
    threads: int | None,
) -> Iterator[Cells]:
    """The cells of each picture, by the network in every number of steps."""
    networks = [
        open_backend("onnxruntime", card, path, threads=threads, iters=steps)
        for steps in range(1, (card.iters or 1) + 1)
    ]
    side = cell * card.scale
    for lr, hr in zip(pairs.lr, pairs.hr, strict=True):
        pixels = np.divide(lr.transpose(2, 0, 1), 255, dtype=np.float32)
        outputs = [enlarge(sharpened(pixels, sharpen), card.scale)]
        outputs += [network.run(pixels[None])[0] for network in networks]
        sharp = luma(hr)
        levels = [np.floor(output.clip(0, 1).transpose(1, 2, 0) * 255 + 0.5) for output in outputs]
        errors = [cell_sums((luma(each) - sharp) ** 2, side).ravel() for each in levels]
        yield Cells(
            detail=detail(pixels, (0, lr.shape[0], 0, lr.shape[1]), cell).ravel(),
            errors=np.array(errors),
            pixels=cell_sums(np.ones_like(sharp), side).ravel(),
        )


def fit_sharpen(pairs: Pairs, *, scale: int) -> list[float]:
    """The weights with which ``sharpened`` brings bicubic closest to the sharp pictures.

    By least squares of luma. Each picture counts as much as another, whatever its error.
    """
    matrix, right = np.zeros((len(CLASSES), len(CLASSES))), np.zeros(len(CLASSES))
    for lr, hr in zip(pairs.lr, pairs.hr, strict=True):
        plane = luma(lr).astype(np.float32)
        missing = (luma(hr) - enlarge(plane, scale)).ravel()
        terms = np.stack([enlarge(term, scale).ravel() for term in differences(plane)])
        weight = 1 / max(float(missing @ missing), 1e-9)
        matrix += weight * (terms @ terms.T)
        right += weight * (terms @ missing)
    weights = np.linalg.lstsq(matrix, right, rcond=1e-6)[0].clip(-1, 1)
    return [round(float(value), 4) for value in weights]


def find_rule(
    cells: Sequence[Cells], *, stops: Sequence[int] | None = None, loss: float = LOSS
) -> dict[str, Any]:
    """What ``ModelCard.steps`` holds, without the side of a cell.

    ``stops`` None: 0, which is bicubic, and that one number of steps with which the fewest are run
    (more stops save more steps, and cost time where the picture is made); no rule where that saves
    nothing. Empty: none at all, for a network that takes no longer than choosing does. ``loss`` in
    dB is met as a mean over pictures.
    """
    count = len(cells[0].errors)
    psnr = [float(np.mean([c.psnr(c.errors[step]) for c in cells])) for step in range(1, count)]
    found: dict[str, Any] = {"psnr": [round(db, 3) for db in psnr], "pictures": len(cells)}
    if stops is not None:
        rule = _search(cells, stops, loss) if stops else None
        return found | (rule or {})
    tried = [_search(cells, [0, last], loss) for last in range(1, count)]
    rule = min(filter(None, tried), key=lambda each: each["mean"], default=None)
    return found | (rule if rule and rule["mean"] < count - 1 else {})


def _search(cells: Sequence[Cells], stops: Sequence[int], loss: float) -> dict[str, Any] | None:
    """The rule for these stops with the fewest steps at a mean loss up to ``loss``."""
    best = None
    low, high = 1e-6, 1e3  # the price of a step, in dB: the higher, the fewer steps and the worse
    for _ in range(_ROUNDS):
        price = (low * high) ** 0.5
        thresholds = _thresholds(cells, stops, price)
        lost, mean = outcome(cells, stops, thresholds)
        if lost > loss:
            high = price
        else:
            low, best = price, (thresholds, lost, mean)
    if best is None:
        return None
    thresholds, lost, mean = _raised(cells, stops, best, loss)
    rule = {"stops": list(stops), "thresholds": thresholds}
    return {**rule, "loss": round(lost, 4), "mean": round(mean, 3)}


def _raised(cells: Sequence[Cells], stops: Sequence[int], found: Outcome, loss: float) -> Outcome:
    """Thresholds raised together as far as ``loss`` allows: prices leave gaps between the rules
    that they find, which are wide where cells are few."""
    first, low, high = found[0], 1.0, 1e3
    for _ in range(_ROUNDS):
        factor = (low * high) ** 0.5
        thresholds = [round(min(factor * value, _NEVER), 5) for value in first]
        lost, mean = outcome(cells, stops, thresholds)
        if lost > loss:
            high = factor
        else:
            low = factor
            if mean < found[2]:
                found = thresholds, lost, mean
    return found


def outcome(
    cells: Sequence[Cells], stops: Sequence[int], thresholds: Sequence[float]
) -> tuple[float, float]:
    """The mean loss of PSNR against all steps, in dB, and the mean steps of a pixel."""
    losses, steps, pixels = [], 0.0, 0.0
    for one in cells:
        taken = np.array(stops)[np.searchsorted(thresholds, one.detail, side="right")]
        errors = one.errors[taken, np.arange(len(taken))]
        losses.append(one.psnr(one.errors[-1]) - one.psnr(errors))
        steps += float((taken * one.pixels).sum())
        pixels += float(one.pixels.sum())
    return float(np.mean(losses)), steps / pixels


def _thresholds(cells: Sequence[Cells], stops: Sequence[int], price: float) -> list[float]:
    """The best thresholds when a step everywhere costs ``price``: exact up to the bins."""
    edges = np.quantile(np.concatenate([c.detail for c in cells]), np.linspace(0, 1, _BINS + 1))
    costs = np.zeros((_BINS, len(stops)))
    total = sum(c.pixels.sum() for c in cells)
    for one in cells:
        bins = np.searchsorted(edges[1:-1], one.detail, side="right")
        # The slope of PSNR over the error of this picture.
        weight = 10 / np.log(10) / max(one.errors[-1].sum(), 1e-9) / len(cells)
        for place, stop in enumerate(stops):
            paid = weight * one.errors[stop] + price * stop * one.pixels / total
            costs[:, place] += np.bincount(bins, paid, minlength=_BINS)
    # Over the bins from smooth to detailed, stops only rise.
    best, came = costs[0].copy(), np.zeros((_BINS, len(stops)), np.int64)
    for row in range(1, _BINS):
        came[row] = [int(np.argmin(best[: place + 1])) for place in range(len(stops))]
        best = best[came[row]] + costs[row]
    place, taken = int(np.argmin(best)), np.zeros(_BINS, np.int64)
    for row in range(_BINS - 1, -1, -1):
        taken[row] = place
        place = int(came[row, place])
    firsts = np.searchsorted(taken, np.arange(1, len(stops)))  # the first bin of each later stop
    return [round(float(edges[first]) if first < _BINS else _NEVER, 5) for first in firsts]


def write(card: ModelCard, path: Path, steps: dict[str, Any]) -> None:
    """Put ``steps`` into the card of both files of a model; those that ship are listed anew."""
    rewrite_card(path.parent, dataclasses.replace(card, steps=steps))
    if path.parent == catalogue.FOLDER:
        catalogue.write_index()


def main(argv: Sequence[str] | None = None) -> int:
    """Calibrate one model; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m loopsr.export.calibrate", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("model", help="name of `loopsr models`, or NAME.onnx beside its twin")
    parser.add_argument("--hr", nargs="+", required=True, help="folders of training pictures")
    parser.add_argument("--loss", type=float, default=LOSS, help=f"dB  [{LOSS}]")
    parser.add_argument("--cell", type=int, default=CELL, help=f"side, in input pixels  [{CELL}]")
    parser.add_argument("--stops", help="such as 1,2,4, or none  [0 and one more]")
    parser.add_argument("--most", type=int, default=200, help="pictures, evenly chosen  [200]")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--dry-run", action="store_true", help="print, write nothing")
    options = parser.parse_args(argv)
    try:
        card, path = catalogue.find(options.model)
        stops = None if options.stops is None else _stops(options.stops)
        if card.iters is None or (stops and not _fit(stops, card.iters)):
            raise UsageError(f"{card.name} runs up to {card.iters} steps; pass --stops in order")
        if options.most < 1:
            raise UsageError(f"--most is {options.most}, expected 1 or more")
        pictures = find_pictures(options.hr)
        pictures = pictures[:: -(-len(pictures) // options.most)]
        pairs = load_pairs(pictures, scale=card.scale, steps=pipeline(card.degradation))
        bicubic = stops is None or 0 in stops
        sharpen = fit_sharpen(pairs, scale=card.scale) if bicubic else []
        measured = measure(
            card, path, pairs, cell=options.cell, sharpen=sharpen, threads=options.threads
        )
        cells = list(measured)
        steps = {"cell": options.cell, **find_rule(cells, stops=stops, loss=options.loss)}
        if 0 in steps.get("stops", ()):
            steps["sharpen"] = sharpen
        if not options.dry_run:
            write(card, path, steps)
    except LoopsrError as error:
        print(f"loopsr: error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps({"name": card.name, **steps}))
    return 0


def _stops(text: str) -> list[int]:
    try:
        return [] if text == "none" else [int(stop) for stop in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--stops is {text!r}, expected such as 0,3 or none") from error


def _fit(stops: Sequence[int], iters: int) -> bool:
    return all(a < b for a, b in itertools.pairwise([-1, *stops, iters + 1]))


if __name__ == "__main__":
    sys.exit(main())

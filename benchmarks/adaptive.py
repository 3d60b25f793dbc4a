"""What adaptive steps lose and save: quality on sets of pictures, time on large ones, seams.

    python benchmarks/adaptive.py --models loop-x4,loop-x2 --data-root FOLDER --large FOLDER

For each network, by the rule of its card: PSNR with all steps and with those that each cell needs,
the mean steps, and the largest step in grey levels that the passage between numbers of steps makes
from one output pixel to the next. With --large also the time of both on the pictures of a folder,
cut to --pixels, in turns, through the whole library in memory. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import write_report
from rich.console import Console
from rich.table import Table

from loopsr.card import ModelCard
from loopsr.data.sets import find_set, pictures_of
from loopsr.data.sources import read_rgb
from loopsr.engine import blend
from loopsr.engine.backends import open_backend
from loopsr.engine.detail import wanted_steps
from loopsr.engine.machine import cores
from loopsr.engine.upscaler import Upscaler
from loopsr.metrics.psnr import psnr_y
from loopsr.ops.enlarge import enlarge, sharpened
from loopsr.train.evaluate import reduce_picture
from loopsr.weights import catalogue

MOST_LOSS, LEAST_SAVED, LEAST_SPEEDUP, MOST_SEAM = 0.05, 0.4, 1.5, 1.0  # the bars

Pixels = NDArray[np.uint8]


class Networks:
    """One model with all its steps, with those that cells need, and stopped at each stop."""

    def __init__(self, card: ModelCard, path: Path, threads: int) -> None:
        assert card.rule is not None
        options: dict[str, Any] = {"backend": "onnxruntime", "threads": threads}
        self.card, self.rule = card, card.rule
        self.fixed = Upscaler(path, quality="best", **options)
        self.adaptive = Upscaler(path, quality="balanced", **options)
        self.stopped = {
            stop: open_backend("onnxruntime", card, path, threads=threads, iters=stop)
            for stop in card.rule.stops
            if stop
        }

    def pictures(self, lr: Pixels) -> dict[int, NDArray[np.float32]]:
        """The picture after each stop, (3, sh, sw)."""
        pixels = _planes(lr)
        found = {stop: network.run(pixels[None])[0] for stop, network in self.stopped.items()}
        if 0 in self.rule.stops:
            found[0] = enlarge(sharpened(pixels, self.rule.sharpen), self.card.scale)
        return found

    def cells(self, lr: Pixels) -> NDArray[np.int8]:
        """The steps of each cell."""
        return wanted_steps(_planes(lr), (0, lr.shape[0], 0, lr.shape[1]), self.rule)

    def mean_steps(self, lr: Pixels) -> float:
        """The mean steps of an input pixel."""
        height, width = lr.shape[:2]
        pixels = self.cells(lr).repeat(self.rule.cell, axis=0).repeat(self.rule.cell, axis=1)
        return float(pixels[:height, :width].mean())


def score(networks: Networks, folder: Path) -> dict[str, Any]:
    """Loss, mean steps and seams on the pictures of a set."""
    scale, rows = networks.card.scale, []
    for picture in pictures_of(folder):
        lr, hr = reduce_picture(read_rgb(picture), name=str(picture), scale=scale)
        whole = psnr_y(networks.fixed(lr), hr, border=scale)
        parts = psnr_y(networks.adaptive(lr), hr, border=scale)
        rows.append((whole, parts, networks.mean_steps(lr), seam(networks, lr)))
    whole, parts, mean, _ = (float(np.mean(column)) for column in zip(*rows, strict=True))
    count = networks.card.iters or 1
    return {
        "model": networks.card.name,
        "set": folder.name,
        "pictures": len(rows),
        "psnr_fixed": round(whole, 3),
        "psnr_adaptive": round(parts, 3),
        "loss": round(whole - parts, 3),
        "steps": count,
        "mean_steps": round(mean, 3),
        "saved": round(1 - mean / count, 3),
        "seam": round(max(row[3] for row in rows), 2),
    }


def seam(networks: Networks, lr: Pixels) -> float:
    """The largest step in grey levels from one output pixel to the next that is due to the passages
    between the pictures of the stops."""
    pictures, rule, worst = networks.pictures(lr), networks.rule, 0.0
    height, width = lr.shape[:2]
    shares = [
        blend.enlarged(np.pad(share[:height, :width], 1, mode="edge"), networks.card.scale)
        for share in blend.shares(networks.cells(lr), rule.stops, rule.cell)
    ]
    for axis in (0, 1):
        # What changes is the share of each picture; the picture is that of the pixel before.
        change = sum(
            np.diff(share, axis=axis) * np.delete(pictures[stop], -1, axis=axis + 1)
            for stop, share in zip(rule.stops, shares, strict=True)
        )
        worst = max(worst, float(np.abs(change).max()))
    return 255 * worst


def race(networks: Networks, pictures: list[Path], pixels: int, rounds: int) -> dict[str, Any]:
    """Seconds of both on large pictures, in turns; medians, and the mean steps."""
    ratios, times, means = [], [], []
    for path in pictures:
        image = _middle(read_rgb(path), pixels)
        means.append(networks.mean_steps(image))
        fixed: list[float] = []
        adaptive: list[float] = []
        for round_ in range(rounds + 1):  # the first warms up
            for upscaler, kept in ((networks.fixed, fixed), (networks.adaptive, adaptive)):
                start = time.perf_counter()
                upscaler(image)
                if round_:
                    kept.append(time.perf_counter() - start)
        pair = statistics.median(fixed), statistics.median(adaptive)
        times.append(pair)
        ratios.append(pair[0] / pair[1])
    return {
        "model": networks.card.name,
        "pictures": len(pictures),
        "megapixels": round(pixels / 1e6, 2),
        "seconds_fixed": round(statistics.mean(t[0] for t in times), 3),
        "seconds_adaptive": round(statistics.mean(t[1] for t in times), 3),
        "speedup": round(statistics.mean(ratios), 3),
        "slowest_speedup": round(min(ratios), 3),
        "mean_steps": round(statistics.mean(means), 3),
    }


def _planes(image: Pixels) -> NDArray[np.float32]:
    return np.ascontiguousarray(np.divide(image.transpose(2, 0, 1), 255, dtype=np.float32))


def _middle(image: Pixels, pixels: int) -> Pixels:
    """The middle of a picture, with about so many pixels; all of it when it has fewer."""
    share = min(1.0, (pixels / (image.shape[0] * image.shape[1])) ** 0.5)
    height, width = (max(1, round(share * side)) for side in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default=",".join(catalogue.DEFAULT.values()))
    parser.add_argument("--sets", default="Set14,BSD100")
    parser.add_argument("--data-root", help="folder of the sets  [$LOOPSR_DATA]")
    parser.add_argument("--large", type=Path, help="folder of large pictures, to be timed")
    parser.add_argument("--pixels", type=int, default=2_000_000, help="of a large picture")
    parser.add_argument("--most", type=int, default=8, help="large pictures")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=cores())
    options = parser.parse_args()
    scores: list[dict[str, Any]] = []
    times: list[dict[str, Any]] = []
    for name in options.models.split(","):
        card, path = catalogue.find(name)
        if card.rule is None:
            parser.error(f"{name} has no rule; run python -m loopsr.export.calibrate {name} first")
        networks = Networks(card, path, options.threads)
        for wanted in filter(None, options.sets.split(",")):
            scores.append(score(networks, find_set(wanted, root=options.data_root)))
        if options.large:
            pictures = pictures_of(options.large)[: options.most]
            times.append(race(networks, pictures, options.pixels, options.rounds))
    console = Console(width=110)
    for rows in filter(None, (scores, times)):
        console.print(_table(rows))
    missed = [row for row in scores if row["loss"] > MOST_LOSS or row["saved"] < LEAST_SAVED]
    missed += [row for row in scores if row["seam"] > MOST_SEAM]
    missed += [row for row in times if row["speedup"] < LEAST_SPEEDUP]
    console.print(
        f"bars: loss up to {MOST_LOSS} dB, {LEAST_SAVED:.0%} of the steps saved, seams up to "
        f"{MOST_SEAM:g} level, {LEAST_SPEEDUP} times faster: "
        + (f"missed in {len(missed)} rows" if missed else "met")
    )
    write_report("adaptive", {"sets": scores, "large": times}, threads=options.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())

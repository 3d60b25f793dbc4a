"""Where the time of a 12-megapixel JPEG goes, beside its network: decode, convert, stitch, encode.

    python benchmarks/road.py [--megapixels 12] [--scale 2] [--model NAME] [--backend NAME]
                              [--precision NAME] [--guide docs/guide/speed.md]

Upscales a photograph, repeated to that size, from file to file, and looks at all threads every five
milliseconds; then runs the network alone on tiles of the same sizes. What the whole takes longer
than that is the price of the data road; its bar is 15 % of the whole. Rounds take turns. Writes
dated JSON to benchmarks/results, and ends with 1 when the bar is missed. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import datetime
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
from large_picture import SAMPLE, make_picture
from report import RESULTS, fill_part, processor, write_report
from rich.console import Console
from rich.table import Table

import loopsr
from loopsr.engine.backends import FILES, open_backend
from loopsr.engine.files import open_file, write_file
from loopsr.engine.machine import cores
from loopsr.engine.plan import Plan
from loopsr.engine.tiling import spans
from loopsr.weights import catalogue

BAR = 0.15  # of the whole time
TICK = 0.005  # seconds between two looks
PACKAGE = str(Path(loopsr.__file__).parent) + "/"
NETWORK, WAITING = "network", "waiting"
# Start of the file's name, in the package, and the function ("" is any): what is being done.
STAGES = (
    ("engine/backends/", "", NETWORK),
    ("io/encode.py", "push", WAITING),
    ("io/encode.py", "read", WAITING),
    ("io/encode.py", "encode", WAITING),
    ("io/encode.py", "_work", "encode"),
    ("io/decode.py", "", "decode"),
    ("io/image.py", "", "decode"),
    ("io/colour.py", "", "colour"),
    ("io/finish.py", "", "hand to the encoder"),
    ("engine/passes.py", "", "float conversion"),
    ("engine/files.py", "_pieces", "float conversion"),
    ("engine/", "", "cut and stitch"),
    ("io/pngstream.py", "", "hand to the encoder"),
    ("io/writer.py", "_stream", "hand to the encoder"),
)
OTHER = "open, check, close"


def stage_of(frame: FrameType | None) -> str | None:
    """What a thread is doing, by its innermost frame in the package; None when it is not there."""
    while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    if frame is None:
        return None
    file = frame.f_code.co_filename.removeprefix(PACKAGE)
    for start, function, stage in STAGES:
        if file.startswith(start) and function in ("", frame.f_code.co_name):
            return stage
    return OTHER


def _role(thread: str) -> str:
    """What a thread is there for, by its name; those of libvips have none of ours."""
    if thread == "MainThread":
        return "main"
    return "encoder" if thread == "loopsr-encode" else thread if "loopsr" in thread else "encoder"


class Spent(NamedTuple):
    """Seconds on the wall, and of all cores of this process together."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Spent:
        return cls(time.perf_counter(), time.process_time())

    def since(self, start: Spent) -> Spent:
        """What passed from ``start`` to this moment."""
        return Spent(self.wall - start.wall, self.cpu - start.cpu)


class Watch:
    """Looks at all threads but its own: how often each did what, and what went on at once."""

    def __init__(self) -> None:
        self.seen: dict[str, collections.Counter[str]] = {}
        self.looks = 0
        self.hidden = 0  # looks at which a network ran and another thread worked as well
        self._stop = threading.Event()

    def _look(self) -> None:
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        doing: dict[str, set[str]] = {}
        for ident, frame in sys._current_frames().items():
            stage = stage_of(frame)
            if ident != threading.get_ident() and stage is not None:
                doing.setdefault(_role(names.get(ident, "")), set()).add(stage)
        for role, stages in doing.items():
            # The encoder is several threads of libvips; when one waits for rows, all of them do.
            stage = WAITING if WAITING in stages else min(stages)
            self.seen.setdefault(role, collections.Counter())[stage] += 1
            doing[role] = {stage}
        busy = set().union(*doing.values()) - {WAITING}
        self.looks += 1
        self.hidden += NETWORK in busy and len(busy) > 1

    def _run(self) -> None:
        while not self._stop.wait(TICK):
            self._look()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look while the body runs."""
        thread = threading.Thread(target=self._run, name="watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()


def upscale(
    source: Path, target: Path, upscaler: loopsr.Upscaler, scale: int
) -> tuple[Watch, Spent, Plan]:
    """Upscale from file to file; returns what was seen, the time and the plan."""
    watch = Watch()
    start = Spent.now()
    with watch.watching():
        opened = open_file(source, target, upscaler=upscaler, scale=scale)
        write_file(opened, upscaler=upscaler, overwrite=True)
    return watch, Spent.now().since(start), opened.plan


def tile_sizes(plan: Plan) -> list[tuple[int, int, int]]:
    """(stage, rows, columns) of every input that the networks of a plan are given."""
    sizes = []
    for number, stage in enumerate(plan.stages):
        halo = stage.card.halo or 0
        sides = [
            [min(end + halo, length) - max(0, start - halo) for start, end in spans(length, most)]
            for length, most in zip((stage.height, stage.width), stage.tile, strict=True)
        ]
        sizes += [(number, rows, columns) for rows in sides[0] for columns in sides[1]]
    return sizes


def network_alone(plan: Plan, options: argparse.Namespace) -> Spent:
    """The time of the networks on tiles of these sizes, with nothing beside them."""
    rng = np.random.default_rng(0)
    backends = [
        open_backend(
            options.backend,
            *catalogue.find(stage.card.name, kind=FILES[options.backend]),
            threads=options.threads,
            precision=options.precision,
        )
        for stage in plan.stages
    ]
    inputs = {
        size: rng.random((1, 3, size[1], size[2]), dtype=np.float32) for size in tile_sizes(plan)
    }
    for (number, _, _), pixels in inputs.items():
        backends[number].run(pixels)  # warms up every size
    start = Spent.now()
    for size in tile_sizes(plan):
        backends[size[0]].run(inputs[size])
    return Spent.now().since(start)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds, and their medians."""
    upscaler = loopsr.Upscaler(
        options.model,
        backend=options.backend,
        precision=options.precision,
        threads=options.threads,
        quality="best",  # all steps everywhere, as the network alone runs
    )
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "photo.jpg", Path(folder) / f"large.{options.target}"
        size = make_picture(source, options.photo, options.megapixels)
        for _ in range(options.rounds + 1):
            watch, seconds, plan = upscale(source, target, upscaler, options.scale)
            rounds.append((seconds, network_alone(plan, options), watch))
    rounds = rounds[1:]  # the first one loads code and files
    whole, alone = (
        Spent(*(statistics.median(r[n][kind] for r in rounds) for kind in (0, 1))) for n in (0, 1)
    )
    return {
        "source": ["jpg", *size],
        "target": [options.target, plan.width, plan.height],
        "model": " + ".join(plan.models),
        "backend": f"{options.backend} {options.precision}",
        "tile": list(plan.stages[0].tile),
        "seconds": round(whole.wall, 3),
        "network_alone": round(alone.wall, 3),
        "price": round(1 - alone.wall / whole.wall, 4),
        "cpu_seconds": round(whole.cpu, 3),
        "network_alone_cpu": round(alone.cpu, 3),
        "price_cpu": round(1 - alone.cpu / whole.cpu, 4),
        "rounds": [[round(r[0].wall, 3), round(r[1].wall, 3)] for r in rounds],
        "hidden": round(statistics.median(w.hidden / w.looks for _, _, w in rounds), 4),
        "stages": _stages([watch for _, _, watch in rounds], whole.wall),
    }


def _stages(watches: list[Watch], seconds: float) -> dict[str, dict[str, float]]:
    """thread -> stage -> seconds of the whole, the mean of all rounds."""
    looks = sum(watch.looks for watch in watches)
    total: dict[str, collections.Counter[str]] = {}
    for watch in watches:
        for role, stages in watch.seen.items():
            total.setdefault(role, collections.Counter()).update(stages)
    return {
        role: {stage: round(n / looks * seconds, 3) for stage, n in stages.most_common()}
        for role, stages in sorted(total.items(), reverse=True)
    }


def rows_of(result: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Thread, stage, seconds and share of the whole, as they are printed."""
    return [
        (name, stage, f"{seconds:.2f}", f"{100 * seconds / result['seconds']:.1f} %")
        for name, stages in result["stages"].items()
        for stage, seconds in stages.items()
    ]


def told(result: dict[str, Any]) -> str:
    """The result in a sentence."""
    source, target = result["source"], result["target"]
    return (
        f"{source[1]}x{source[2]} JPEG to {target[1]}x{target[2]} {target[0]}, {result['model']}, "
        f"{result['backend']}: {result['seconds']:.2f} s, the network alone "
        f"{result['network_alone']:.2f} s.\nThe data road costs {100 * result['price']:.1f} % of "
        f"the whole ({100 * result['price_cpu']:.1f} % of the processor's time); during "
        f"{100 * result['hidden']:.0f} % of it other threads work beside the network."
    )


def as_markdown(result: dict[str, Any], *, threads: int) -> str:
    """The result as a part of a page."""
    lines = [f"| {' | '.join(row)} |" for row in rows_of(result)]
    table = "\n".join(["| thread | | seconds | of the whole |", "|---" * 4 + "|", *lines])
    where = f"{processor()}, {threads} thread{'s' if threads > 1 else ''}, {datetime.date.today()}"
    return f"{told(result)}\n({where}.)\n\n{table}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--photo", type=Path, default=SAMPLE)
    parser.add_argument("--target", default="jpg", help="format that is written")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--model", help="of `loopsr models`; the one for the scale without")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--guide", type=Path, help="page whose profile is written anew")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    result = measure(options)
    print(json.dumps(result))
    table = Table("thread", "stage", "seconds", "of the whole")
    for row in rows_of(result):
        table.add_row(*row)
    Console().print(table)
    print(told(result))
    name = f"road_{options.backend}_{options.precision}"
    write_report(name, [result], folder=options.results, threads=options.threads, bar=BAR)
    if options.guide:
        fill_part(options.guide, "road", as_markdown(result, threads=options.threads))
    return 0 if result["price"] < BAR else 1


if __name__ == "__main__":
    sys.exit(main())

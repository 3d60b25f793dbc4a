"""The speed of this machine, measured for a moment and kept: networks, bicubic, and the codecs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from loopsr.engine.cache import key_of, load, store
from loopsr.engine.machine import cpu_features, cpu_name
from loopsr.engine.measure import sample_picture
from loopsr.engine.pace import Speed
from loopsr.engine.runners import Runner
from loopsr.io.formats import Encoding
from loopsr.io.image import open_picture
from loopsr.io.traits import Traits
from loopsr.io.writer import write_picture
from loopsr.ops.enlarge import enlarge

_SIDE = 128  # pixels of the sample
_CODEC_SIDES = (96, 384)
_ROUNDS = 3
# Seconds a pixel of the result for what is neither network nor codec: rounding, copying.
HANDLING = 2e-8


def network_speed(key: str, runner: Callable[[int], Runner], *, scale: int, steps: int) -> Speed:
    """The speed of a network of up to ``steps``; ``key`` stands for it and the machine.

    ``runner`` gives what runs it in a number of steps.
    """
    kept = load().get(key)
    if kept is None:
        pixels = sample_picture(_SIDE)
        core = (0, _SIDE, 0, _SIDE)

        def run(count: int) -> float:
            network = runner(count)
            return _seconds(lambda: network.run_core(pixels, core))

        first = run(1)
        each = (run(steps) - first) / (steps - 1) if steps > 1 else 0.0
        none = _seconds(lambda: enlarge(pixels, scale))
        kept = [{"none": none, "first": first, "step": max(0.0, each)}]
        store(key, kept)
    return Speed(**{name: value / _SIDE**2 for name, value in kept[0].items()})


def codec_speed(format: str, encoding: Encoding | None) -> tuple[float, float]:
    """Seconds to decode and to encode a pixel of a format."""
    encoding = encoding or Encoding()
    facts = ["codec", cpu_name(), cpu_features(), format, encoding.quality, encoding.lossless]
    key = key_of(facts)
    kept = load().get(key)
    if kept is None:
        # What a file costs whatever its size drops out of the difference.
        (few, *small), (many, *large) = (_codec_seconds(format, encoding, n) for n in _CODEC_SIDES)
        each = [max(0.0, (b - a) / (many - few)) for a, b in zip(small, large, strict=True)]
        kept = [{"decode": each[0], "encode": each[1]}]
        store(key, kept)
    return float(kept[0]["decode"]), float(kept[0]["encode"])


def _codec_seconds(format: str, encoding: Encoding, side: int) -> tuple[int, float, float]:
    """Pixels of a square sample, seconds to decode and to encode it."""
    levels = (sample_picture(side)[0].transpose(1, 2, 0) * 255).round().astype(np.uint8)

    def write() -> bytes:
        data = write_picture(
            None,
            [[levels]],
            width=side,
            height=side,
            traits=Traits(),
            encoding=encoding,
            format=format,
        )
        assert data is not None
        return data

    data = write()
    return side**2, _seconds(lambda: list(open_picture(data).rows(0))), _seconds(write)


def _seconds(work: Callable[[], object]) -> float:
    """The median of a few rounds, after one that warms up."""
    work()
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)

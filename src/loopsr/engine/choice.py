"""Which backend, and in which precision: the fastest that is installed, by measurement.

A measurement takes about a second in a process of its own (``loopsr.engine.measure``) and is kept
in ``backends.json`` in the cache folder, under all that it depends on: the CPU, the versions, the
threads, the model's bytes. It is only made when there is a choice and enough work to be worth it;
until then the first candidate runs, ONNX Runtime in float32.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loopsr.card import ModelCard
from loopsr.engine.backends import BACKENDS, EXTRAS, PRECISIONS, STEPWISE, installed
from loopsr.engine.cache import key_of, load, store
from loopsr.engine.machine import cpu_features, cpu_name
from loopsr.errors import MissingExtraError
from loopsr.weights import catalogue

# A shorter precision is taken unasked only up to this root mean square difference, and nowhere more
# than four grey levels, on a picture full of the hardest edges. Photographs differ by less, about
# as much as the rounding to 8 bits adds (0.29 levels); docs/guide/speed.md has the figures.
MOST_RMS = 0.5 / 255
MOST_DIFFERENCE = 4 / 255
# 8-bit integers are taken unasked only where the cards of a network and its twin show that this
# costs no more PSNR on any set. Their picture then only has to be recognisable: root mean square.
MOST_LOSS = 0.05  # dB
MOST_INT8_RMS = 10 / 255
# Another than the first must save this share of the time, or noise would choose; and as much as
# steps by need save, at least (benchmarks/adaptive.py), where those are wanted and the first alone
# can take them.
GAIN, STEPS_GAIN = 0.1, 0.4
# Multiply-accumulates a thread from which a measurement is worth its second: some 5 to 10 seconds.
_WORTH = 2.5e11
_TIME_LIMIT = 20.0  # seconds, of a measurement that usually takes one or two
_log = logging.getLogger("loopsr")


class Candidate(NamedTuple):
    """A way to run a network."""

    backend: str
    precision: str

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"


def candidates(
    backend: str | None = None, precision: str | None = None, *, kinds: Sequence[str] = ()
) -> list[Candidate]:
    """The installed ways to run a network, the first one being what is taken unmeasured.

    ``backend`` and ``precision`` narrow them (None: any); so does ``kinds``, the names that may be
    taken. An explicit backend need not be installed: opening it says what to type. Raises
    ``MissingExtraError`` when nothing is left.
    """
    names = [backend] if backend else [n for n in installed() if not kinds or n in kinds]
    found = [
        Candidate(name, known)
        for name in names
        for known in PRECISIONS[name]
        if precision in (None, known)
    ]
    if not found:
        able = [n for n in EXTRAS if precision in (None, *PRECISIONS[n])]
        raise MissingExtraError(f"computing in {precision or 'float32'}", EXTRAS[able[0]])
    return sorted(found, key=lambda c: (c.precision != "float32", list(BACKENDS).index(c.backend)))


def good_twin(card: ModelCard) -> str | None:
    """The twin in 8-bit integers that may be taken for a model that ships; None when there is none
    or when it was not measured on the same sets, or loses more than ``MOST_LOSS`` on one."""
    name = card.name + catalogue.INT8_TAG
    if name not in catalogue.names():
        return None
    twin = catalogue.card(name)
    shared = card.scores.keys() & twin.scores.keys()
    losses = [card.scores[key]["psnr_y"] - twin.scores[key]["psnr_y"] for key in shared]
    return name if losses and round(max(losses), 4) <= MOST_LOSS else None


def worth_measuring(work: float, threads: int) -> bool:
    """Whether so many multiply-accumulates would repay a measurement."""
    return work >= _WORTH * threads


def choose(
    card: ModelCard,
    files: Mapping[Candidate, Path],
    *,
    threads: int,
    iters: int | None = None,
    measure: bool = False,
    afresh: bool = False,
    by_need: bool = False,
) -> tuple[Candidate, list[dict[str, Any]]]:
    """The fastest of the candidates in ``files``, and the figures that say so.

    Without a measurement of this machine, and unless ``measure``, it is the first of them and
    there are no figures. ``afresh`` forgets what was measured before. ``by_need`` says that steps
    are wanted by need.
    """
    first = next(iter(files))
    if len(files) == 1:
        return first, []
    key = machine_key(card, files, threads, iters)
    rows = None if afresh else load().get(key)
    if rows is None and (measure or afresh):
        rows = _measured(card, files, threads, iters)
        if rows:
            store(key, rows)
    rows = [row for row in rows or [] if isinstance(row, dict)]
    chosen = decide(rows, first, gain=STEPS_GAIN if by_need and takes_steps(first) else GAIN)
    if rows:
        _log.info("%s runs on %s, by measurement", card.name, chosen)
    return chosen, rows


def takes_steps(candidate: Candidate) -> bool:
    """Whether it can run as many steps as each part of a picture needs."""
    return candidate.backend in STEPWISE and candidate.precision == "float32"


def decide(rows: Sequence[Mapping[str, Any]], first: Candidate, *, gain: float = GAIN) -> Candidate:
    """The candidate of the fastest row that may be taken; ``first`` unless it saves ``gain``."""
    good = {
        Candidate(row["backend"], row["precision"]): row["milliseconds"]
        for row in rows
        if row.get("error") is None and is_faithful(row)
    }
    if first not in good:
        return min(good, key=lambda c: good[c]) if good else first
    fastest = min(good, key=lambda c: good[c])
    return fastest if good[fastest] < (1 - gain) * good[first] else first


def is_faithful(row: Mapping[str, Any]) -> bool:
    """Whether the picture is the same to the eye; figures are shares of white."""
    if row.get("precision") == "int8":  # judged by its card before it became a candidate
        return bool(row["rms"] <= MOST_INT8_RMS)
    return bool(row["rms"] <= MOST_RMS and row["largest"] <= MOST_DIFFERENCE)


def _measured(
    card: ModelCard, files: Mapping[Candidate, Path], threads: int, iters: int | None
) -> list[dict[str, Any]]:
    task = {
        "card": card.to_json(),
        "candidates": [[*candidate, str(path)] for candidate, path in files.items()],
        "threads": threads,
        "iters": iters,
    }
    command = [sys.executable, "-m", "loopsr.engine.measure"]
    try:
        done = subprocess.run(
            command, input=json.dumps(task), capture_output=True, text=True, timeout=_TIME_LIMIT
        )
        rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        _log.warning("the backends could not be measured (%s); the first one runs", error)
        return []
    return rows


def machine_key(
    card: ModelCard, files: Mapping[Candidate, Path], threads: int, iters: int | None
) -> str:
    """A hash of all that a measurement depends on."""
    versions = {}
    for name in {candidate.backend for candidate in files}:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    hashes = sorted({hashlib.sha256(path.read_bytes()).hexdigest() for path in files.values()})
    machine = [cpu_name(), cpu_features(), os.environ.get("ONEDNN_MAX_CPU_ISA"), versions]
    facts = [*machine, threads, iters, card.name, hashes, sorted(map(str, files))]
    return key_of(facts)

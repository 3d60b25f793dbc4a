"""Targets that a larger network made: a small one comes closer to them than to the sharp pictures.

A sharp picture has detail that nobody can know from the reduced one; for a small network that is
noise in every batch. A larger one, which has learned what can be known, leaves it out (Hinton,
Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015).
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loopsr.data.sources import Pairs, views
from loopsr.engine.cache import key_of
from loopsr.engine.upscaler import Upscaler
from loopsr.errors import UsageError
from loopsr.io.cache import cache_folder
from loopsr.io.parts import part_beside
from loopsr.weights import catalogue

log = logging.getLogger(__name__)
Pixels = NDArray[np.uint8]


def taught(
    pairs: Pairs, *, teacher: str, share: float, threads: int = 1, cache: Path | None = None
) -> Pairs:
    """The pairs with targets that are by this ``share`` what ``teacher`` makes of the inputs.

    ``teacher`` is the name or the ONNX file of a network of the same scale. Its pictures are made
    once, by as many ``threads``, and kept in ``cache``, ``pairs`` in the cache folder when not
    given. Raises ``UsageError`` for another scale, ``UnknownNameError``, ``WeightsError``.
    """
    card, path = catalogue.find(teacher)
    if card.scale != pairs.scale:
        raise UsageError(
            f"the teacher {teacher} enlarges {card.scale} times, x{pairs.scale} was expected; "
            f"pass --set teacher=loop-x{pairs.scale}"
        )
    weights = hashlib.sha256(catalogue.read_bytes(path)).hexdigest()
    key = key_of([pairs.key, weights, share])
    file = (cache or cache_folder() / "pairs") / f"{key}.bin"
    if not file.is_file():
        log.info("%s makes %d pictures to learn from; this is done once", card.name, len(pairs.lr))
        _write(file, _targets(pairs, path, share, threads))
    targets = views(file, [hr.shape[:2] for hr in pairs.hr])
    return dataclasses.replace(pairs, hr=targets, key=key)


def _targets(pairs: Pairs, teacher: Path, share: float, threads: int) -> Iterator[Pixels]:
    upscale = Upscaler(
        teacher, backend="onnxruntime", precision="float32", quality="best", threads=threads
    )
    for lr, hr in zip(pairs.lr, pairs.hr, strict=True):
        made = np.asarray(upscale(np.array(lr), scale=pairs.scale), np.float32)
        mixed = np.float32(share) * made + np.float32(1 - share) * hr
        yield np.floor(mixed + np.float32(0.5)).astype(np.uint8)


def _write(file: Path, pictures: Iterator[Pixels]) -> None:
    """One after the other; the file appears when it is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with part_beside(file) as part:
        with part.open("wb") as stream:
            for picture in pictures:
                stream.write(picture.data)
        part.replace(file)

"""Targets that a larger network made: a small one comes closer to them than to the sharp pictures.

A sharp picture has detail that nobody can know from the reduced one; for a small network that is
noise in every batch. A larger one, which has learned what can be known, leaves it out (Hinton,
Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loopsr.data.sources import Pairs
from loopsr.engine.upscaler import Upscaler
from loopsr.errors import UsageError
from loopsr.io.cache import cache_folder
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
    weights = hashlib.sha256(path.read_bytes()).hexdigest()
    text = json.dumps([pairs.key, weights, share])
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    file = (cache or cache_folder() / "pairs") / f"{key}.bin"
    if not file.is_file():
        log.info("%s makes %d pictures to learn from; this is done once", card.name, len(pairs.lr))
        _write(file, _targets(pairs, path, share, threads))
    flat, targets, start = np.asarray(np.memmap(file, np.uint8, mode="r")), [], 0
    for hr in pairs.hr:
        targets.append(flat[start : start + hr.size].reshape(hr.shape))
        start += hr.size
    return dataclasses.replace(pairs, hr=tuple(targets), key=key)


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
    handle, unfinished = tempfile.mkstemp(prefix=f".{file.stem}-", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            for picture in pictures:
                stream.write(np.ascontiguousarray(picture).data)
        Path(unfinished).replace(file)
    finally:
        Path(unfinished).unlink(missing_ok=True)

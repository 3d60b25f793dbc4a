"""The encoder works while the network makes the next band."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from loopsr import Upscaler
from loopsr.engine import files
from loopsr.engine.files import open_file, write_file
from loopsr.io import encode

PATIENCE = 5.0  # seconds, of an encoder that waits for a network which does not go on


@pytest.mark.parametrize(("held_back", "overlaps"), [(False, True), (True, False)])
def test_the_network_goes_on_while_a_band_waits(
    weights: Path,
    tmp_path: Path,
    photo: Callable[[int, int], NDArray[np.float32]],
    monkeypatch: pytest.MonkeyPatch,
    held_back: bool,
    overlaps: bool,
) -> None:
    """An encoder that does nothing until the second band is begun still gets its first one.

    With the planted fault, a queue of one piece, the network has to wait for the encoder.
    """
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    pixels = np.round(photo(120, 20) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(source)
    upscaler = Upscaler(threads=1, tile=60)
    opened = open_file(source, target, upscaler=upscaler, scale=2)
    assert opened.plan.band_rows == 120 > files._PIECE
    runs: list[int] = []
    second_band, seen = threading.Event(), []

    @contextlib.contextmanager
    def turn() -> Iterator[None]:
        runs.append(1)
        if len(runs) == 2:  # a tile is as wide as the picture
            second_band.set()
        yield

    def lazy(*arguments: Any) -> None:
        seen.append(second_band.wait(PATIENCE if overlaps else 0.5))
        work(*arguments)

    work = encode._work
    monkeypatch.setattr(encode, "_work", lazy)
    if held_back:
        monkeypatch.setattr(encode, "Feed", lambda queued, feed=encode.Feed: feed(1))
    write_file(opened, upscaler=upscaler, turn=turn)
    assert seen == [overlaps]
    assert np.array_equal(np.asarray(Image.open(target)), upscaler(pixels, scale=2))

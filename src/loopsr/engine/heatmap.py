"""The map of steps as a picture: dark where few were taken, bright where many; with a legend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loopsr.engine.files import OpenedFile
from loopsr.io.traits import Traits
from loopsr.io.writer import write_picture

Pixels = NDArray[np.uint8]
# From none to all, evenly: violet, blue, green, yellow, red.
_COLOURS = np.array(
    [(48, 18, 59), (62, 107, 214), (34, 181, 138), (249, 199, 45), (196, 43, 22)], np.float64
)
_PAPER, _INK = 250, 30
_DOT = 3  # pixels of a dot of a glyph
_LINE = 27  # pixels, of the legend
_LEAST, _MOST = 320, 1024  # pixels of the longer side
# Five rows of three dots, a digit a row in octal; so no font need be there.
_GLYPHS = {
    "0": "75557",
    "1": "26227",
    "2": "71747",
    "3": "71717",
    "4": "55711",
    "5": "74717",
    "6": "74757",
    "7": "71111",
    "8": "75757",
    "9": "75717",
    "%": "51245",
}


def write_map(opened: OpenedFile, target: Path) -> None:
    """Write the map of a picture that was upscaled as a PNG, over what is there.

    Raises ``ImageWriteError``.
    """
    stage = opened.plan.stages[0]
    steps = opened.steps.pixels(stage.width, stage.height, most=_MOST)
    picture = draw(steps, most=stage.card.iters or 1)
    write_picture(
        target,
        [[picture]],
        width=picture.shape[1],
        height=picture.shape[0],
        traits=Traits(),
        overwrite=True,
    )


def draw(steps: NDArray[np.int8], *, most: int) -> Pixels:
    """Steps (h, w) of 0 to ``most`` as colours, and below a legend with the share of each: RGB."""
    larger = max(1, _LEAST // max(steps.shape))
    large = steps.repeat(larger, axis=0).repeat(larger, axis=1)
    colours = palette(most)
    entries = [
        _entry(colours[count], count, float((steps == count).mean())) for count in range(most + 1)
    ]
    width = max(large.shape[1], max(entry.shape[1] for entry in entries))
    body = np.full((large.shape[0], width, 3), _PAPER, np.uint8)
    body[:, : large.shape[1]] = colours[large]
    return np.concatenate([body, *_lines(entries, width)])


def palette(most: int) -> Pixels:
    """The colours of 0 to ``most`` steps, (most + 1, 3)."""
    place = np.linspace(0, len(_COLOURS) - 1, most + 1)
    channels = [np.interp(place, np.arange(len(_COLOURS)), channel) for channel in _COLOURS.T]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def _lines(entries: list[Pixels], width: int) -> list[Pixels]:
    """The entries of the legend beside each other, in as many lines as that takes."""
    lines, left = [np.full((_LINE, width, 3), _PAPER, np.uint8)], 0
    for entry in entries:
        if left + entry.shape[1] > width:
            lines.append(np.full((_LINE, width, 3), _PAPER, np.uint8))
            left = 0
        lines[-1][:, left : left + entry.shape[1]] = entry
        left += entry.shape[1]
    return lines


def _entry(colour: Pixels, count: int, share: float) -> Pixels:
    """A swatch with the number of steps in it, and the share of the picture."""
    swatch = np.broadcast_to(colour, (_LINE, 12 * _DOT, 3)).copy()
    bright = int(colour.sum()) > 3 * 140
    _write(swatch, str(count), left=4 * _DOT, ink=_INK if bright else _PAPER)
    text = f"{round(100 * share)}%"
    label = np.full((_LINE, (4 * len(text) + 5) * _DOT, 3), _PAPER, np.uint8)
    _write(label, text, left=2 * _DOT, ink=_INK)
    return np.concatenate([swatch, label], axis=1)


def _write(place: Pixels, text: str, *, left: int, ink: int) -> None:
    """Write digits and % into ``place``, in the middle of its height."""
    top = (len(place) - 5 * _DOT) // 2
    for glyph in text:
        dots = np.array([[int(row) >> bit & 1 for bit in (2, 1, 0)] for row in _GLYPHS[glyph]])
        large = dots.astype(np.bool_).repeat(_DOT, axis=0).repeat(_DOT, axis=1)
        place[top : top + len(large), left : left + large.shape[1]][large] = ink
        left += 4 * _DOT

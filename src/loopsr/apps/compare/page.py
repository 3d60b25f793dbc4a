"""The page itself: pictures, crops and numbers as data inside one HTML file."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopsr.apps.compare.crops import choose_crops
from loopsr.io.libvips import vips
from loopsr.metrics.psnr import luma
from loopsr.ops.resize import resize

Pixels = NDArray[np.uint8]
WINDOW = 96  # output pixels that a crop, and a pane of the closer look, shows
MOST_ERROR = 32  # levels of luma that are drawn in the last colour
_OVERVIEW = 1600  # longest edge of the picture under the slider
_CROPS = 4
_WEBP_SIDE = 16383  # longest that the format can hold
# Black, violet, red, orange, pale yellow: dark to light, also for the colour-blind.
_HEAT = np.array([[0, 0, 0], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]])


@dataclass(frozen=True, kw_only=True)
class Column:
    """One version of a picture, (h, w, 3) uint8; ``cells`` are its row in the table of numbers."""

    name: str
    pixels: Pixels
    cells: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One picture: its input and its versions, all of one size, ``right`` next to ``left``.

    With ``reference``, the sharp picture, errors are drawn and the reference is one more version.
    ``look`` is where the closer look begins, in shares of width and height, None for the first
    crop.
    """

    name: str
    input: Pixels
    columns: Sequence[Column]
    reference: Pixels | None = None
    left: int = 0
    right: int = 1
    note: str = ""
    facts: Sequence[tuple[str, str]] = ()
    look: tuple[float, float] | None = None
    crops: int = _CROPS
    cut: float = 50  # where the slider stands, in percent from the left


@dataclass(kw_only=True)
class Page:
    """A page that grows by sheets; only their encoded pictures are kept."""

    title: str
    intro: Sequence[str] = ()
    heads: Sequence[str] = ()  # of the tables of numbers
    means: Sequence[Sequence[str]] = ()
    closing: Sequence[str] = ()
    credit: str = ""
    sheets: list[dict[str, Any]] = field(default_factory=list)

    def add(self, sheet: Sheet) -> None:
        """Encode a sheet and put it on the page."""
        self.sheets.append(_encoded(sheet))

    def html(self) -> str:
        """The page as text. Texts of users are data in it, never markup."""
        data = {
            "title": self.title,
            "intro": self.intro,
            "heads": self.heads,
            "means": marked(self.means, self.heads),
            "sheets": [s | {"rows": marked(s["rows"], self.heads)} for s in self.sheets],
            "closing": self.closing,
            "credit": self.credit,
        }
        template = (resources.files("loopsr.apps") / "assets" / "compare.html").read_text("utf-8")
        colours = ", ".join(f"rgb({r} {g} {b})" for r, g, b in _HEAT)
        # No "<" at all: neither </script> nor <!-- can end the element early.
        text = json.dumps(data).replace("<", "\\u003c")
        values = {"title": html.escape(self.title), "data": text, "colours": colours}
        # In one go: a value may hold a mark itself.
        return re.sub(r"\{\{(\w+)\}\}", lambda mark: values[mark[1]], template)


def marked(rows: Sequence[Sequence[str]], heads: Sequence[str]) -> list[list[Any]]:
    """Rows of a table whose best cells, the highest PSNR and SSIM, say so."""
    marked_rows: list[list[Any]] = [list(row) for row in rows]
    for i, head in enumerate(heads):
        if len(rows) < 2 or not head.startswith(("PSNR", "SSIM")):
            continue
        best = max(float(row[i]) for row in rows)
        for row in marked_rows:
            if float(row[i]) == best:
                row[i] = {"text": row[i], "best": True}
    return marked_rows


def heat(image: Pixels, reference: Pixels) -> Pixels:
    """The difference in luma as colours: black for none, the last for ``MOST_ERROR`` and more."""
    levels = np.abs(luma(image) - luma(reference)) / MOST_ERROR
    place = levels.clip(0, 1) * (len(_HEAT) - 1)
    channels = [np.interp(place, range(len(_HEAT)), _HEAT[:, c]) for c in range(3)]
    result: Pixels = np.stack(channels, axis=-1).round().astype(np.uint8)
    return result


def _encoded(sheet: Sheet) -> dict[str, Any]:
    columns = list(sheet.columns)
    reference = sheet.reference
    rows = [[column.name, *column.cells] for column in columns if column.cells]
    errors = [None if reference is None else heat(c.pixels, reference) for c in columns]
    if reference is not None:
        columns.append(Column(name="sharp original", pixels=reference))
        errors.append(None)
    height, width = columns[0].pixels.shape[:2]
    places = choose_crops([c.pixels for c in columns], size=WINDOW, count=sheet.crops)
    centres = [((x + WINDOW / 2) / width, (y + WINDOW / 2) / height) for y, x in places]
    shrink = max(1.0, max(height, width) / _OVERVIEW)
    return {
        "name": sheet.name,
        "note": sheet.note,
        "facts": list(sheet.facts),
        "rows": rows,
        "left": sheet.left,
        "right": sheet.right,
        "cut": sheet.cut,
        "most": 0 if reference is None else MOST_ERROR,
        # of the picture that is shown; the panes of the closer look are windows on it
        "width": round(width / shrink),
        "height": round(height / shrink),
        "window": min(WINDOW, height, width),
        "shrunk": shrink > 1,
        "input": _uri(sheet.input),
        "columns": [
            {
                "name": column.name,
                "image": _overview(column.pixels, shrink),
                "error": None if error is None else _overview(error, shrink),
            }
            for column, error in zip(columns, errors, strict=True)
        ],
        "look": sheet.look or (centres[0] if centres else (0.5, 0.5)),
        "crops": [
            {
                "centre": centre,
                "images": [_uri(_cut(c.pixels, place)) for c in columns],
                "errors": [None if e is None else _uri(_cut(e, place)) for e in errors],
                "notes": [_note(c.pixels, reference, place) for c in columns],
            }
            for place, centre in zip(places, centres, strict=True)
        ],
    }


def _cut(image: Pixels, place: tuple[int, int]) -> Pixels:
    top, left = place
    return image[top : top + WINDOW, left : left + WINDOW]


def _note(image: Pixels, reference: Pixels | None, place: tuple[int, int]) -> str:
    """The PSNR of a crop; nothing for the reference itself."""
    if reference is None or image is reference:
        return ""
    difference = luma(_cut(image, place)) - luma(_cut(reference, place))
    error = float(np.mean(np.square(difference)))
    return f"{10 * np.log10(255**2 / error):.2f} dB" if error else "equal"


def _overview(image: Pixels, shrink: float) -> str:
    """The picture as it is; one that is too large for a page reduced, and packed with loss."""
    if shrink <= 1:
        return _uri(image)
    height, width = image.shape[:2]
    small = resize(image, size=(round(height / shrink), round(width / shrink)))
    return _uri(small, lossless=False)


def _uri(image: Pixels, *, lossless: bool = True) -> str:
    """A picture as a data URI; lossless ones decode to the same pixels."""
    picture = vips().Image.new_from_array(np.ascontiguousarray(image), interpretation="srgb")
    if max(image.shape) > _WEBP_SIDE:
        kind, data = "png", picture.pngsave_buffer()
    else:
        kind, data = "webp", picture.webpsave_buffer(lossless=lossless, Q=90, effort=3)
    return f"data:image/{kind};base64," + base64.b64encode(bytes(data)).decode("ascii")

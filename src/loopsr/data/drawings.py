"""Drawings to learn from: comic pages, flat cartoons, pages of text, fronts of houses.

    python -m loopsr.data.drawings FOLDER --count 63

Photographs have few hard edges, screen tones, hatching, small text and rows of windows, and what a
network never saw it does not learn. Each drawing is an SVG file made of random numbers, so it is
the same for a number on every machine with the same fonts; it uses those that are installed among
DejaVu, Liberation, Comic Neue and Noto CJK. docs/log.md has what they bring.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loopsr.errors import LoopsrError, UsageError
from loopsr.io.libvips import vips

SIDE = 768  # pixels
_FONTS = (
    "DejaVu Sans",
    "DejaVu Serif",
    "DejaVu Sans Mono",
    "Liberation Sans",
    "Liberation Serif",
    "Comic Neue",
    "Noto Sans CJK JP",
    "Noto Serif CJK JP",
)
_LATIN = (
    "the of and light river mountain paper window seven orange quick brown fox jumps over lazy dog "
    "zebra crossing Quartz judge my vow MEMORY ÄÖÜ café (1924) 3.14 50% A&amp;B index=4; return "
    "loop[i]+1 #hash @home £20 naïve"
)
_SIGNS = (
    "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをんアイウエオ"
    "カキクケコサシスセソタチツテトナニヌネノ日本語漫画東京大人中学生年月火水木金土曜今何時分私彼女行見思"
    "言気持電車雨風空海山川森林花鳥猫犬！？…"  # noqa: RUF001
)
_BLACK, _WHITE = "#000", "#fff"


class Sheet:
    """An SVG file in the making, and the random numbers that it is made of."""

    def __init__(self, rng: np.random.Generator, side: int) -> None:
        """A blank square of ``side`` pixels."""
        self.rng, self.side = rng, side
        self._body: list[str] = []
        self._defs: list[str] = []

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        return self.between(0, 1) < share

    def whole(self, low: int, high: int) -> int:
        """A whole number; ``high`` is one of them."""
        return int(self.rng.integers(low, high + 1))

    def add(self, text: str) -> None:
        self._body.append(text)

    def define(self, text: str) -> None:
        self._defs.append(text)

    def gray(self, low: int = 0, high: int = 255) -> str:
        return "#" + 3 * f"{self.whole(low, high):02x}"

    def colour(self) -> str:
        return "#" + "".join(f"{self.whole(0, 255):02x}" for _ in range(3))

    def tone(self) -> str:
        """A screen tone: dots, lines or a lattice, as a fill."""
        name = f"p{len(self._defs)}"
        size, angle, kind = self.between(3, 9), self.between(0, 90), self.whole(0, 3)
        if kind <= 1:
            radius = size * self.between(0.15, 0.6)
            inner = f'<circle cx="{size / 2}" cy="{size / 2}" r="{radius}"/>'
        elif kind == 2:
            inner = f'<rect width="{size * self.between(0.15, 0.6)}" height="{size}"/>'
        else:
            line = size * self.between(0.1, 0.3)
            inner = f'<rect width="{line}" height="{size}"/><rect width="{size}" height="{line}"/>'
        self.define(
            f'<pattern id="{name}" width="{size}" height="{size}" patternUnits="userSpaceOnUse" '
            f'patternTransform="rotate({angle})">{inner}</pattern>'
        )
        return f"url(#{name})"

    def gradient(self, make: Callable[[], str]) -> str:
        """A passage between two colours, as a fill."""
        name = f"g{len(self._defs)}"
        self.define(
            f'<linearGradient id="{name}" gradientTransform="rotate({self.between(0, 90)})">'
            f'<stop offset="0" stop-color="{make()}"/><stop offset="1" stop-color="{make()}"/>'
            "</linearGradient>"
        )
        return f"url(#{name})"

    def blob(self, x: float, y: float, size: float) -> str:
        """A closed smooth outline around a place, as a path."""
        count = self.whole(4, 9)
        angles = np.sort(self.rng.uniform(0, 2 * np.pi, count))
        radii = size * self.rng.uniform(0.45, 1, count)
        corners = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], 1)
        start = (corners[0] + corners[-1]) / 2
        path = f"M{start[0]:.1f} {start[1]:.1f}"
        for corner, after in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            middle = (corner + after) / 2
            path += f"Q{corner[0]:.1f} {corner[1]:.1f} {middle[0]:.1f} {middle[1]:.1f}"
        return path + "Z"

    def polygon(self, x: NDArray[np.float64], y: NDArray[np.float64], fill: str) -> None:
        self.add(f'<polygon points="{_points(x, y)}" fill="{fill}"/>')

    def stroke(
        self,
        x: float,
        y: float,
        *,
        length: float,
        width: float,
        angle: float,
        bend: float = 0,
        ink: str = _BLACK,
    ) -> None:
        """A line as a pen draws it: thin at its ends."""
        along = np.linspace(0, 1, 14)
        angles = angle + bend * (along - 0.5)
        px = x + np.cos(angles).cumsum() * length / 13
        py = y + np.sin(angles).cumsum() * length / 13
        half = width / 2 * np.sin(np.pi * np.clip(along * self.between(0.6, 1) + 0.02, 0, 1))
        nx, ny = -np.sin(angles) * half, np.cos(angles) * half
        xs, ys = np.append(px + nx, (px - nx)[::-1]), np.append(py + ny, (py - ny)[::-1])
        self.polygon(xs, ys, ink)

    def hair(self, x: float, y: float, size: float, ink: str = _BLACK) -> None:
        """A bundle of strokes side by side."""
        angle, bend = self.between(0, 6.3), self.between(-2.5, 2.5)
        width = self.between(0.8, 5)
        for place in range(self.whole(4, 25)):
            self.stroke(
                x + place * self.between(1, 6) * np.sin(angle),
                y - place * self.between(1, 6) * np.cos(angle),
                length=size * self.between(0.6, 1.2),
                width=width * self.between(0.5, 1),
                angle=angle + self.between(-0.1, 0.1),
                bend=bend + self.between(-0.2, 0.2),
                ink=ink,
            )

    def words(
        self, x: float, y: float, size: float, count: int, ink: str, font: str | None = None
    ) -> None:
        """A line of text, Latin or Japanese."""
        font = font or str(self.rng.choice(_FONTS))
        style = ' font-weight="bold"' if self.chance(0.3) else ""
        style += ' font-style="italic"' if self.chance(0.15) else ""
        if self.chance(0.75):
            text = " ".join(self.rng.choice(_LATIN.split(), count))
        else:
            text = "".join(self.rng.choice(list(_SIGNS), 3 * count))
        self._text(x, y, size, font, ink + f'"{style}', text)

    def column(self, x: float, y: float, size: float, count: int) -> None:
        """Text from top to bottom."""
        style = ' font-weight="bold"' if self.chance(0.3) else ""
        for row in range(count):
            font = f"Noto {self.rng.choice(('Sans', 'Serif'))} CJK JP"
            sign = str(self.rng.choice(list(_SIGNS)))
            self._text(x, y + row * size * 1.08, size, font, _BLACK + f'"{style}', sign)

    def _text(self, x: float, y: float, size: float, font: str, ink: str, text: str) -> None:
        self.add(
            f'<text x="{x:.1f}" y="{y:.1f}" font-family="{font}" font-size="{size:.1f}" '
            f'fill="{ink}>{text}</text>'
        )

    def svg(self, back: str) -> bytes:
        """The file, over a colour or a fill."""
        head = 'xmlns="http://www.w3.org/2000/svg"'
        return (
            f'<svg {head} viewBox="0 0 {self.side} {self.side}" width="{self.side}" '
            f'height="{self.side}"><defs>{"".join(self._defs)}</defs>'
            f'<rect width="100%" height="100%" fill="{back}"/>{"".join(self._body)}</svg>'
        ).encode()


def _points(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


Box = tuple[float, float, float, float]  # x, y, width, height


def _panels(sheet: Sheet, box: Box, depth: int = 0) -> list[Box]:
    """A page cut into panels, with gaps."""
    x, y, width, height = box
    if depth >= 3 or min(width, height) < 220 or sheet.chance(0.15):
        return [box]
    share, gap = sheet.between(0.35, 0.65), sheet.between(5, 14)
    if width > height * sheet.between(0.6, 1.4):
        cut = share * width
        parts = (x, y, cut - gap / 2, height), (x + cut + gap / 2, y, width - cut - gap / 2, height)
    else:
        cut = share * height
        parts = (x, y, width, cut - gap / 2), (x, y + cut + gap / 2, width, height - cut - gap / 2)
    return [panel for part in parts for panel in _panels(sheet, part, depth + 1)]


def _bubble(sheet: Sheet, x: float, y: float, size: float) -> None:
    """What somebody says, in an ellipse."""
    sheet.add(
        f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{0.8 * size:.1f}" ry="{size:.1f}" '
        f'fill="{_WHITE}" stroke="{_BLACK}" stroke-width="{sheet.between(1, 3.5):.1f}"/>'
    )
    letter = sheet.between(9, 20)
    if sheet.chance(0.7):
        for column in range(max(1, int(0.7 * size / letter))):
            count = max(1, int(1.1 * size / letter) - sheet.whole(0, 2))
            left = x - 0.45 * size + 1.35 * letter * column
            sheet.column(left, y - 0.55 * size + letter, letter, count)
    else:
        for row in range(max(1, int(size / letter))):
            top = y - 0.4 * size + 1.2 * letter * row
            sheet.words(x - 0.6 * size, top, 0.8 * letter, 2, _BLACK, "Comic Neue")


def comic(sheet: Sheet) -> str:
    """A page in black and white: panels, screen tones, pen strokes, speech. Gives its paper."""
    edge = sheet.between(5, 30)
    side = sheet.side - 2 * edge
    for number, (x, y, width, height) in enumerate(_panels(sheet, (edge, edge, side, side))):
        frame = f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        sheet.define(f'<clipPath id="c{number}">{frame}/></clipPath>')
        sheet.add(f'<g clip-path="url(#c{number})">')
        _scene(sheet, (x, y, width, height), frame)
        sheet.add("</g>")
        line = sheet.between(1, 5)
        sheet.add(f'{frame} fill="none" stroke="{_BLACK}" stroke-width="{line:.1f}"/>')
    return _WHITE


def _scene(sheet: Sheet, box: Box, frame: str) -> None:
    """What is in a panel."""
    x, y, width, height = box
    size = min(width, height)

    def place() -> tuple[float, float]:
        return x + width * sheet.between(0, 1), y + height * sheet.between(0, 1)

    backs: list[Callable[[], str]] = [
        sheet.tone,
        lambda: sheet.gradient(sheet.gray),
        lambda: _BLACK,
        *3 * [lambda: _WHITE],
    ]
    back = backs[sheet.whole(0, 5)]()
    sheet.add(f'{frame} fill="{back}"/>')
    if sheet.chance(0.35):
        ink = _WHITE if back == _BLACK else _BLACK
        _rays(sheet, *place(), size, max(width, height), ink)
    fills: list[Callable[[], str]] = [
        *2 * [lambda: _WHITE],
        lambda: _BLACK,
        sheet.tone,
        sheet.gray,
        lambda: sheet.gradient(sheet.gray),
    ]
    for _ in range(sheet.whole(2, 6)):
        outline, fill = sheet.blob(*place(), size * sheet.between(0.1, 0.5)), sheet.whole(0, 5)
        if fills[fill] == sheet.tone:  # which lets through what is below
            sheet.add(f'<path d="{outline}" fill="{sheet.gray(170, 255)}"/>')
        line = f'stroke="{_BLACK}" stroke-width="{sheet.between(0.6, 5):.1f}"'
        sheet.add(f'<path d="{outline}" fill="{fills[fill]()}" {line}/>')
    for _ in range(sheet.whole(1, 5)):
        ink = _WHITE if sheet.chance(0.2) else _BLACK
        sheet.hair(*place(), size * sheet.between(0.1, 0.6), ink)
    for _ in range(sheet.whole(0, 25)):
        sheet.stroke(
            *place(),
            length=size * sheet.between(0.03, 0.5),
            width=sheet.between(0.6, 4),
            angle=sheet.between(0, 6.3),
            bend=sheet.between(-3, 3),
        )
    if sheet.chance(0.6):
        _bubble(sheet, *place(), size * sheet.between(0.15, 0.3))


def _rays(sheet: Sheet, x: float, y: float, size: float, length: float, ink: str) -> None:
    """Lines of speed away from a place."""
    for angle in sheet.rng.uniform(0, 2 * np.pi, sheet.whole(30, 140)):
        radius, width = size * sheet.between(0.25, 0.5), sheet.between(1, 5)
        start = x + radius * np.cos(angle), y + radius * np.sin(angle)
        sheet.stroke(*start, length=length, width=width, angle=angle, ink=ink)


def cartoon(sheet: Sheet) -> str:
    """Flat colours, most with outlines, and a few large words. Gives its background."""
    ink, line = sheet.gray(0, 60), sheet.between(0, 6)
    for _ in range(sheet.whole(12, 45)):
        fill = sheet.colour() if sheet.chance(0.7) else sheet.gradient(sheet.colour)
        x, y = sheet.between(0, sheet.side), sheet.between(0, sheet.side)
        size = sheet.between(10, 220)
        look = f'fill="{fill}"'
        if line > 1:
            look += f' stroke="{ink}" stroke-width="{line * sheet.between(0.5, 1.3):.1f}"'
        shape = sheet.whole(0, 5)
        if shape <= 3:
            sheet.add(f'<path d="{sheet.blob(x, y, size)}" {look}/>')
        elif shape == 4:
            rx, ry = size * sheet.between(0.2, 0.6), size * sheet.between(0.2, 0.6)
            sheet.add(f'<ellipse cx="{x}" cy="{y}" rx="{rx}" ry="{ry}" {look}/>')
        else:
            corners = np.array([x, y]) + sheet.rng.uniform(-size, size, (sheet.whole(3, 7), 2))
            points = " ".join(f"{a:.0f},{b:.0f}" for a, b in corners)
            sheet.add(f'<polygon points="{points}" {look}/>')
        if sheet.chance(0.3):
            sheet.hair(x, y, 0.8 * size, ink if sheet.chance(0.6) else sheet.colour())
    for _ in range(sheet.whole(0, 4)):
        x, y = sheet.between(0, 0.7 * sheet.side), sheet.between(30, sheet.side)
        sheet.words(x, y, sheet.between(14, 90), sheet.whole(1, 3), sheet.colour())
    return sheet.colour()


def page(sheet: Sheet) -> str:
    """Paragraphs, headings, buttons, tables and curves, light or dark. Gives its background."""
    dark = sheet.chance(0.3)
    back = sheet.gray(0, 50) if dark else sheet.gray(225, 255)
    ink = sheet.gray(190, 255) if dark else sheet.gray(0, 90)
    parts = [*3 * [_paragraph], _heading, _buttons, _table, _curves]
    y = sheet.between(10, 40)
    while y < sheet.side:
        y = parts[sheet.whole(0, len(parts) - 1)](sheet, sheet.between(8, 60), y, ink)
    return back


def _paragraph(sheet: Sheet, x: float, y: float, ink: str) -> float:
    size, font = sheet.between(9, 26), str(sheet.rng.choice(_FONTS))
    colour = ink if sheet.chance(0.8) else sheet.colour()
    for _ in range(sheet.whole(2, 8)):
        sheet.words(x, y, size, int(sheet.side / size / 2.6), colour, font)
        y += size * sheet.between(1.25, 1.5)
    return y


def _heading(sheet: Sheet, x: float, y: float, ink: str) -> float:
    size = sheet.between(30, 80)
    colour = ink if sheet.chance(0.5) else sheet.colour()
    sheet.words(x, y + 0.6 * size, size, sheet.whole(1, 4), colour)
    return y + 1.1 * size


def _buttons(sheet: Sheet, x: float, y: float, ink: str) -> float:
    height = sheet.between(24, 70)
    for _ in range(sheet.whole(1, 6)):
        width = sheet.between(60, 160)
        sheet.add(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'rx="{sheet.between(0, 12):.1f}" fill="{sheet.colour()}" stroke="{sheet.colour()}" '
            f'stroke-width="{sheet.whole(0, 2)}"/>'
        )
        colour = _WHITE if sheet.chance(0.5) else _BLACK
        sheet.words(x + 8, y + 0.65 * height, sheet.between(10, 0.6 * height), 1, colour)
        x += width + 14
    return y + height + sheet.between(10, 30)


def _table(sheet: Sheet, x: float, y: float, ink: str) -> float:
    # On whole pixels, as browsers draw them.
    left, top, rows, columns = int(x), int(y), sheet.whole(2, 8), sheet.whole(2, 8)
    height, width = sheet.whole(14, 30), sheet.whole(40, 120)
    for row in range(rows + 1):
        line = f'width="{columns * width}" height="1" fill="{ink}"'
        sheet.add(f'<rect x="{left}" y="{top + row * height}" {line}/>')
    for column in range(columns + 1):
        line = f'width="1" height="{rows * height}" fill="{ink}"'
        sheet.add(f'<rect x="{left + column * width}" y="{top}" {line}/>')
    for row in range(rows):
        for column in range(columns):
            at = left + column * width + 4, top + (row + 0.7) * height
            sheet.words(*at, 0.6 * height, 1, ink)
    return top + rows * height + sheet.between(15, 40)


def _curves(sheet: Sheet, x: float, y: float, ink: str) -> float:
    height, width = sheet.between(100, 240), sheet.between(200, sheet.side - x)
    sheet.add(
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="none" '
        f'stroke="{ink}"/>'
    )
    for _ in range(sheet.whole(1, 5)):
        values = sheet.rng.normal(size=sheet.whole(5, 60)).cumsum()
        values = (values - values.min()) / (np.ptp(values) + 1e-6) * 0.9 * height + 0.05 * height
        places = x + width * np.linspace(0, 1, len(values))
        line = f'stroke="{sheet.colour()}" stroke-width="{sheet.between(0.8, 4):.1f}"'
        sheet.add(f'<polyline points="{_points(places, y + values)}" fill="none" {line}/>')
    return y + height + sheet.between(15, 40)


def facade(sheet: Sheet) -> str:
    """Rows of windows or bricks on walls that are seen at an angle. Gives the sky."""
    for _ in range(sheet.whole(1, 3)):
        _wall(sheet)
    return sheet.gradient(sheet.colour)


def _wall(sheet: Sheet) -> None:
    left, right = sheet.between(-0.2, 0.4), sheet.between(0.6, 1.2)
    tops = sheet.rng.uniform(-0.4, 0.4, 2)
    bottoms = sheet.rng.uniform(0.6, 1.4, 2)
    corners = [(left, tops[0]), (right, tops[1]), (right, bottoms[1]), (left, bottoms[0])]
    seen = _homography(sheet.side * np.array(corners))
    base, tint = sheet.whole(40, 220), sheet.rng.uniform(0.8, 1.2, 3)

    def tile(u: float, v: float, width: float, height: float, light: float) -> None:
        square = np.array([[u, u + width, u + width, u], [v, v, v + height, v + height], 4 * [1]])
        x, y, depth = seen @ square
        fill = "#" + "".join(f"{int(min(light * share, 255)):02x}" for share in tint)
        sheet.polygon(x / depth, y / depth, fill)

    tile(0, 0, 1, 1, base)
    columns, rows = sheet.whole(6, 40), sheet.whole(6, 40)
    width, height = sheet.between(0.2, 0.9) / columns, sheet.between(0.2, 0.9) / rows
    light = base * sheet.between(0.15, 0.6) if sheet.chance(0.7) else base * 1.6
    bars, spread = sheet.whole(0, 3), sheet.between(0, 0.3)
    shift = 0.5 / columns if sheet.chance(0.2) else 0  # of every other row, as of bricks
    for column in range(columns):
        for row in range(rows):
            u, v = column / columns + shift * (row % 2), row / rows
            tile(u, v, width, height, light * (1 + sheet.between(-spread, spread)))
            for bar in range(1, bars + 1):
                middle = u + width * bar / (bars + 1)
                tile(middle - 0.03 / columns, v, 0.06 / columns, height, base * 1.15)


def _homography(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 3x3 matrix that brings the unit square's corners (clockwise from 0, 0) to these."""
    rows = []
    for (u, v), (x, y) in zip([(0, 0), (1, 0), (1, 1), (0, 1)], corners, strict=True):
        rows += [[u, v, 1, 0, 0, 0, -x * u, -x * v], [0, 0, 0, u, v, 1, -y * u, -y * v]]
    return np.append(np.linalg.solve(np.array(rows), corners.ravel()), 1).reshape(3, 3)


# As often as they are listed.
KINDS = (comic, comic, comic, cartoon, page, facade, facade)


def draw(number: int, *, side: int = SIDE) -> NDArray[np.uint8]:
    """The drawing of a number, (side, side, 3); which of ``KINDS`` it is goes by the number."""
    rng = np.random.default_rng([number, 7])
    sheet = Sheet(rng, side)
    file = sheet.svg(KINDS[number % len(KINDS)](sheet))
    # Drawn larger and reduced, as most drawings are.
    factor, kernel = sheet.between(1, 2), str(rng.choice(["linear", "cubic", "lanczos3"]))
    large = vips().Image.svgload_buffer(file, scale=factor).flatten(background=255)
    pixels = large.resize(side / large.width, kernel=kernel).crop(0, 0, side, side).numpy()
    if sheet.chance(0.3):  # grain, of paper or of a photograph of a wall
        pixels = pixels + rng.normal(0, sheet.between(0.5, 3), (side, side, 1))
    drawn: NDArray[np.uint8] = np.clip(pixels + 0.5, 0, 255).astype(np.uint8)
    return drawn


def main(argv: Sequence[str] | None = None) -> int:
    """Write drawings as PNG files; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m loopsr.data.drawings", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", type=Path, help="where they go; new, or empty")
    parser.add_argument("--count", type=int, default=63, help="[63]")
    parser.add_argument("--first", type=int, default=0, help="number of the first one  [0]")
    options = parser.parse_args(argv)
    try:
        if options.first < 0:
            raise UsageError(f"--first is {options.first}, expected 0 or more")
        if options.folder.exists() and any(options.folder.iterdir()):
            raise UsageError(f"{options.folder} is not empty; pass a new folder")
        options.folder.mkdir(parents=True, exist_ok=True)
        for number in range(options.first, options.first + options.count):
            image = vips().Image.new_from_array(draw(number))
            image.write_to_file(str(options.folder / f"{number:04d}.png"))
    except (LoopsrError, OSError) as error:
        print(f"loopsr: error: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, LoopsrError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

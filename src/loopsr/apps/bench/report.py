"""What a benchmark found: plain data, as it is printed, kept as JSON and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class Row:
    """One entry's figures. None is "not known" or, for an interpolation, "there is none".

    Times are of one picture: the median over the rounds, the quartiles, the fastest and the
    slowest, in milliseconds. ``limit_ms`` is the least time that the machine's peak allows in this
    precision, ``share`` is that by the median; ``limited_by`` is "compute" or "memory". ``psnr_y``
    has a figure a set of pictures, in dB.
    """

    model: str
    kind: str
    backend: str
    precision: str
    iters: int | None = None
    parameters: int | None = None
    kilobytes: float | None = None
    milliseconds: float
    quartiles: tuple[float, float]
    fastest: float
    slowest: float
    frames_per_second: float
    peak_bytes: int | None = None
    macs: int | None = None
    bytes_moved: int | None = None
    limit_ms: float | None = None
    limited_by: str | None = None
    share: float | None = None
    psnr_y: dict[str, float] = field(default_factory=dict)

    @property
    def way(self) -> str:
        """Backend and precision; empty for an interpolation."""
        return f"{self.backend} {self.precision}".strip()


@dataclass(kw_only=True)
class Report:
    """A whole run. JSON-able by ``asdict``.

    ``peaks`` maps a precision to giga multiply-accumulates a second and the runtime that reached
    them, ``memory_gb_per_second`` is what moves through the main memory. ``quality`` says where
    ``psnr_y`` comes from: "measured", "cards" or "". ``left_out`` names what could not run, and
    why.
    """

    date: str
    version: str
    machine: dict[str, Any]
    packages: dict[str, str]
    threads: int
    scale: int
    size: tuple[int, int]  # width, height of the input
    rounds: int
    peaks: dict[str, dict[str, Any]] = field(default_factory=dict)
    memory_gb_per_second: float | None = None
    quality: str = ""
    sets: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)

    @property
    def output_size(self) -> tuple[int, int]:
        """Width and height of the upscaled picture."""
        return self.size[0] * self.scale, self.size[1] * self.scale


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which of (cost, gain) no other beats: less cost with no less gain, or more gain with no more
    cost. Numbers of the points, by growing cost; of equal points the first."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    front: list[int] = []
    for i in order:
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front

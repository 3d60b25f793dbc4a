"""What will be done to a picture, known before any work: size, networks, tiles, memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from loopsr.card import ModelCard, StepRule
from loopsr.engine.adaptive import adaptive_halo, adaptive_memory
from loopsr.engine.flat import RADIUS
from loopsr.engine.tiling import longest_span
from loopsr.errors import UsageError

MAX_SCALE = 16.0
MAX_PASSES = 4
# Peak bytes an input pixel of a tile that ONNX Runtime takes for a network, measured, the worst of
# all scales and sizes from 200 to 768, plus a tenth (tests/engine/test_memory.py measures again).
BYTES_PER_PIXEL: dict[str, int] = {"loop": 920, "lrn": 2500}
_UNKNOWN_NETWORK = 5000
# Bigger tiles gain little speed, and a tile is the step of the progress and of Ctrl-C.
_MOST_PIXELS = 512 * 512
_SIDES = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048)
_MOST_MEMORY = 1024**3  # taken by default; more than this brings no speed
_FLOAT_ROW = 3 * 4  # bytes of a float32 colour pixel
_READ_BAND = 64  # rows that come at once from a decoder


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One pass of one network over a picture of ``width`` x ``height`` input pixels."""

    card: ModelCard
    width: int
    height: int
    tile: tuple[int, int]  # most rows and columns of a tile's core, input pixels
    rule: StepRule | None = None  # where the steps are to suit the picture
    runs: int = 1  # of the network for every tile: more in a self-ensemble
    memory: int  # bytes, estimated

    @property
    def cost(self) -> int:
        """What an input pixel costs, for the share of the progress: multiply-accumulates."""
        return self.runs * (self.card.macs_per_pixel or self.card.parameters or 1)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The passes, the size that they reach and the final size, in pixels; ``memory`` in bytes."""

    stages: tuple[Stage, ...]
    width: int
    height: int
    memory: int

    @property
    def network_size(self) -> tuple[int, int]:
        """(width, height) that the last network gives."""
        last = self.stages[-1]
        return last.width * last.card.scale, last.height * last.card.scale

    @property
    def reduced(self) -> bool:
        """Whether a reduction follows the last network."""
        return self.network_size != (self.width, self.height)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, in the order of the passes."""
        return tuple(stage.card.name for stage in self.stages)

    @property
    def band_rows(self) -> int:
        """The most rows that the last network gives at once."""
        last = self.stages[-1]
        rows = last.height if last.card.halo is None else longest_span(last.height, last.tile[0])
        return rows * last.card.scale

    @property
    def cost(self) -> int:
        """Multiply-accumulates of all passes, without the tiles' halos."""
        return sum(stage.cost * stage.width * stage.height for stage in self.stages)


def final_size(
    width: int,
    height: int,
    *,
    scale: float | None = None,
    to_width: int | None = None,
    to_height: int | None = None,
    long_edge: int | None = None,
) -> tuple[int, int]:
    """The size (width, height) that was asked for; the aspect is always kept.

    ``to_width`` with ``to_height`` is a box that the picture is fitted into. Raises ``UsageError``
    for contradicting wishes, a factor that does not enlarge, and one above 16.
    """
    targets = [value for value in (to_width, to_height, long_edge) if value is not None]
    if (scale is not None) + (to_width is not None or to_height is not None) + (
        long_edge is not None
    ) != 1:
        raise UsageError("pass exactly one of scale, width and/or height, long_edge")
    if any(value < 1 for value in targets):
        raise UsageError(f"a target of {min(targets)} pixels was asked for; pass 1 or more")
    if scale is not None:
        if not (math.isfinite(scale) and 1 < scale <= MAX_SCALE):
            raise UsageError(
                f"scale is {scale:g}, above 1 and up to 16 was expected; pass 2, 3 or 4"
            )
        return _rounded(width * scale), _rounded(height * scale)
    if long_edge is not None:
        factor = long_edge / max(width, height)
    else:
        sides = ((to_width, width), (to_height, height))
        factor = min(target / side for target, side in sides if target is not None)
    if not 1 < factor <= MAX_SCALE:
        least, most = max(width, height), int(max(width, height) * MAX_SCALE)
        raise UsageError(
            f"the picture has {width}x{height} pixels and the target scales it by {factor:.4g}, "
            f"above 1 and up to 16 was expected; pass a long edge of {least + 1} to {most}"
        )
    return _rounded(width * factor), _rounded(height * factor)


def _rounded(length: float) -> int:
    return max(1, math.floor(length + 0.5))


def choose_scales(
    factor: float, available: Collection[int], *, first: int | None = None
) -> tuple[int, ...]:
    """The networks' scales whose product reaches ``factor`` with the least surplus, then fewest.

    Large scales come first, after ``first`` if one is prescribed: 6 is 3 then 2, 8 is 4 then 2.
    Raises ``UsageError`` when four passes do not reach it.
    """
    found = []
    ordered = sorted(available, reverse=True)
    for count in range(1, MAX_PASSES + 1):
        for chain in itertools.combinations_with_replacement(ordered, count):
            if first is not None:
                if first not in chain:
                    continue
                rest = list(chain)
                rest.remove(first)
                chain = (first, *rest)
            # A hair of tolerance: 3000 / 1000 must not ask for more than x3.
            if math.prod(chain) >= factor * (1 - 1e-9):
                found.append(chain)
    if not found:
        raise UsageError(
            f"models of scale {sorted(available)} do not reach {factor:.4g} in "
            f"{MAX_PASSES} passes; pass a smaller --scale or another --model"
        )
    return min(found, key=lambda chain: (math.prod(chain), len(chain)))


def default_memory(free: int) -> int:
    """Bytes to take when nobody said: a quarter of what is free, at most 1 GiB."""
    return min(free // 4, _MOST_MEMORY)


def make_plan(
    cards: Sequence[ModelCard],
    *,
    width: int,
    height: int,
    size: tuple[int, int],
    max_memory: int,
    tile: int | None = None,
    adaptive: bool = False,
    runs: int = 1,
    most_pixels: int = _MOST_PIXELS,
) -> Plan:
    """Plan the passes of ``cards`` over a picture, then a reduction to ``size`` (width, height).

    ``max_memory`` in bytes is shared by the passes; ``tile`` overrules it. ``adaptive``
    lets the steps suit the picture, by networks whose cards have a rule for that; a network makes
    ``runs`` of every tile, of which the mean is taken; ``most_pixels`` is what a tile may have at
    the most. Raises ``UsageError`` when no tile fits, and says how much would do.
    """
    if tile is not None and tile < 1:
        raise UsageError(f"tile is {tile}, at least 1 was expected; leave it out to have it chosen")
    stages = []
    for card in cards:
        budget = max_memory // len(cards)
        rule = card.rule if adaptive else None
        if rule is not None:
            card = card.stopped_after(rule.stops[-1])
            card = replace(card, halo=adaptive_halo(card, rule))
        sides = (tile, tile) if tile else None
        if sides is None:
            sides = _choose_tile(
                card, rule, width, height, budget, runs, passes=len(cards), most_pixels=most_pixels
            )
        memory = stage_memory(card, width, height, sides, rule, runs)
        stages.append(
            Stage(
                card=card,
                width=width,
                height=height,
                tile=sides,
                rule=rule,
                runs=runs,
                memory=memory,
            )
        )
        width, height = width * card.scale, height * card.scale
    memory = sum(stage.memory for stage in stages)
    return Plan(stages=tuple(stages), width=size[0], height=size[1], memory=memory)


def stage_memory(
    card: ModelCard,
    width: int,
    height: int,
    tile: tuple[int, int],
    rule: StepRule | None = None,
    runs: int = 1,
) -> int:
    """Bytes that a pass takes at its peak: the runtime, the window of rows, the bands of output."""
    if card.halo is None:
        rows, columns, halo = height, width, 0
    else:
        rows, columns = longest_span(height, tile[0]), longest_span(width, tile[1])
        halo = card.halo
    each = BYTES_PER_PIXEL.get(card.network, _UNKNOWN_NETWORK)
    if rule is not None:
        each = int(each * adaptive_memory(rule))
    if runs > 1:
        each += _FLOAT_ROW + 2 * _FLOAT_ROW * card.scale**2  # a turned tile; the sum, an output
    runtime = each * min(rows + 2 * halo, height) * min(columns + 2 * halo, width)
    held = min(height, rows + 2 * max(halo, RADIUS) + _READ_BAND)
    # Twice each: the window is copied when it grows; a band, as integers, waits for the encoder.
    window = 2 * _FLOAT_ROW * held * width
    bands = 2 * _FLOAT_ROW * card.scale**2 * rows * width
    return runtime + window + bands


def _choose_tile(
    card: ModelCard,
    rule: StepRule | None,
    width: int,
    height: int,
    budget: int,
    runs: int,
    *,
    passes: int,
    most_pixels: int,
) -> tuple[int, int]:
    """The tile (rows, columns) that fits the budget with the least halo; of equals the smaller."""
    halo = card.halo or 0
    best, least, smallest = None, math.inf, math.inf
    for tile in itertools.product(_SIDES, _SIDES):
        memory = stage_memory(card, width, height, tile, rule, runs)
        smallest = min(smallest, memory)
        rows, columns = min(tile[0], height), min(tile[1], width)
        waste = (rows + 2 * halo) * (columns + 2 * halo) / (rows * columns)
        if memory <= budget and rows * columns <= most_pixels and waste < least:
            best, least = tile, waste
    if best is None:
        need = math.ceil(smallest * passes / 1024**2)
        raise UsageError(
            f"{budget * passes // 1024**2} MB of memory are below the least for {width}x{height} "
            f"pixels with {card.name}, {need} MB; pass --max-memory {need}M or more"
        )
    return best

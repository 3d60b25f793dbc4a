"""Choose what fits into a time limit: how many steps, and of which network of the family."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loopsr.card import ModelCard
from loopsr.engine.adaptive import adaptive_halo
from loopsr.engine.networks import Networks
from loopsr.engine.pace import Load, Pace, Speed
from loopsr.engine.plan import Plan, Stage, make_plan
from loopsr.engine.quality import BALANCED, stopped
from loopsr.engine.runners import Runner
from loopsr.engine.timed import Timed
from loopsr.errors import UsageError

# A tile is what the clock cannot stop: at most this share of the limit.
_SHARE = 0.03
_LEAST_TILE = 32 * 32  # input pixels
_log = logging.getLogger("loopsr")


@dataclass(frozen=True, kw_only=True)
class Rest:
    """The seconds that a picture takes besides its networks: ``at_end`` after them, or meanwhile.

    ``copies`` counts how often the passes run: frames, and alpha as one more.
    """

    seconds: float = 0.0
    at_end: bool = False
    copies: int = 1


def check_deadline(
    deadline: float | None, iters: int | None, *, self_ensemble: bool = False
) -> float | None:
    """The deadline, in seconds. Raises ``UsageError`` for one that makes no sense."""
    if deadline is None:
        return None
    if not 0 < deadline < math.inf:
        raise UsageError(f"deadline is {deadline:g} seconds, above 0 was expected; or leave it out")
    if iters is not None:
        raise UsageError(
            f"iters {iters} and a deadline contradict each other, since the steps are chosen for "
            "the time; pass one of them"
        )
    if self_ensemble:
        raise UsageError("self_ensemble and a deadline contradict each other; pass one of them")
    return deadline


def bicubic_share(pace: Pace | None, plan: Plan, copies: int) -> float:
    """The share of the work that was bicubic for want of time."""
    whole = sum(stage.width * stage.height * copies for stage in plan.stages)
    return 0.0 if pace is None else round(min(1.0, pace.bicubic / whole), 4)


def tell_of_bicubic(pace: Pace | None, plan: Plan, copies: int) -> None:
    """Log a warning when some of a picture is bicubic."""
    share = bicubic_share(pace, plan, copies)
    if pace is not None and pace.bicubic:
        _log.warning(
            "there was no time for a network on %.0f %% of the picture, which is bicubic; "
            "allow more than %g s",
            max(1, 100 * share),
            pace.limit,
        )


def fit(
    plan: Plan,
    chains: Sequence[Sequence[str]],
    pace: Pace,
    networks: Networks,
    *,
    rest: Rest,
    max_memory: int,
    tile: int | None,
    quality: str,
) -> Plan:
    """The plan for the size of ``plan`` that takes the most of the time, and tell the pace of it.

    ``chains`` are models for all passes, the most thorough first; none runs more steps than
    ``quality`` asks for. When nothing fits it is the
    last one with one step, and what does not fit will be bicubic. Raises ``UsageError`` when not
    even that fits.
    """
    size = plan.width, plan.height
    first = plan.stages[0]
    for names in chains:
        cards = [_useful(networks.card(name), quality) for name in names]
        speeds = [networks.speed(card) for card in cards]
        for steps in range(max(card.iters or 1 for card in cards), 0, -1):
            stopped = [card.stopped_after(min(steps, card.iters or 1)) for card in cards]
            worst = max(s.of(c.iters or 1) for s, c in zip(speeds, stopped, strict=True))
            found = make_plan(
                stopped,
                width=first.width,
                height=first.height,
                size=size,
                max_memory=max_memory,
                tile=tile,
                adaptive=quality == BALANCED,
                most_pixels=max(_LEAST_TILE, int(_SHARE * pace.limit / worst)),
            )
            loads = list(_loads(found.stages, speeds, rest.copies))
            needed = sum(load.seconds(load.most) for load in loads) + rest.seconds
            if needed <= pace.left():
                pace.start(loads, rest=rest.seconds, at_end=rest.at_end)
                return found
    least = sum(load.seconds(0) for load in loads) + rest.seconds
    if least > pace.left():
        raise UsageError(
            f"a time limit of {pace.limit:g} s is too short: reading, enlarging by bicubic and "
            f"writing take about {pace.limit - pace.left() + least:.2g} s here; pass more, a "
            "smaller size or another format"
        )
    pace.start(loads, rest=rest.seconds, at_end=rest.at_end)
    return found


def _useful(card: ModelCard, quality: str) -> ModelCard:
    """The card with no more steps than ``quality`` would run anywhere."""
    card = stopped(card, quality, None)
    rule = card.rule if quality == BALANCED else None
    return card.stopped_after(rule.stops[-1]) if rule else card


def _loads(stages: Sequence[Stage], speeds: Sequence[Speed], copies: int) -> Iterator[Load]:
    """The work of each pass; a pixel's time holds its share of the halos."""
    for stage, speed in zip(stages, speeds, strict=True):
        halo, (rows, columns) = stage.card.halo or 0, stage.tile
        rows, columns = min(rows, stage.height), min(columns, stage.width)
        more = (min(rows + 2 * halo, stage.height) * min(columns + 2 * halo, stage.width)) / (
            rows * columns
        )
        yield Load(
            speed=Speed(none=speed.none, first=more * speed.first, step=more * speed.step),
            pixels=float(stage.width * stage.height * copies),
            most=stage.card.iters or 1,
        )


def timed_runner(stage: Stage, number: int, pace: Pace, networks: Networks, *, fine: bool) -> Timed:
    """What runs the tiles of pass ``number`` against the clock of ``pace``."""
    full = networks.card(stage.card.name)

    def runner(steps: int) -> Runner:
        rule = stage.rule and stage.rule.up_to(steps)
        return networks.runner(full.stopped_after(steps), rule=rule, fine=fine, measure=False)

    def halo(steps: int) -> int:
        card, rule = full.stopped_after(steps), stage.rule and stage.rule.up_to(steps)
        return adaptive_halo(card, rule) if rule else card.halo or 0

    unit = stage.rule.cell if stage.rule else 1
    return Timed(pace, number, runner=runner, halo=halo, scale=full.scale, unit=unit)

"""What ``quality`` means: how much time a result may take, in a word.

- ``fast``: the smallest network of the family that ships, when nobody named one, and the fewest
  steps that lose no more than 0.3 dB to all of them (``FAST_LOSS``), by the figures on its card.
- ``balanced``: the usual network, each part of the picture with as many steps as it needs
  (``loopsr.engine.adaptive``).
- ``best``: the usual network, all its steps everywhere.

A network whose card has no figures runs all its steps. A self-ensemble is of ``best`` unless told
otherwise: whoever waits eight times as long wants no steps left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from loopsr.card import ModelCard
from loopsr.errors import UnknownNameError, UsageError
from loopsr.weights import catalogue

FAST, BALANCED, BEST = QUALITIES = ("fast", "balanced", "best")
# Members of the family, from the smallest.
_SMALLER = ("loop-xs", "loop-s")


def check_quality(quality: str | None, iters: int | None, *, self_ensemble: bool = False) -> str:
    """The quality that is meant; a number of steps is one of its own, "best" with these steps."""
    if quality is None:
        return BEST if iters is not None or self_ensemble else BALANCED
    if quality not in QUALITIES:
        raise UnknownNameError("quality", quality, QUALITIES)
    if iters is not None:
        raise UsageError(
            f"iters {iters} and quality {quality} contradict each other; pass one of them"
        )
    if self_ensemble and quality == BALANCED:
        raise UsageError(
            "quality balanced and self_ensemble contradict each other; pass quality best or fast"
        )
    return quality


def usual_models(quality: str) -> dict[int, str]:
    """scale -> name of the model that is taken when nobody names one; what ships only."""
    shipped = catalogue.names()
    models = {scale: name for scale, name in catalogue.DEFAULT.items() if name in shipped}
    if quality != FAST:
        return models
    for member in reversed(_SMALLER):  # the smallest comes last and wins
        models |= {s: name for s in models if (name := f"{member}-x{s}") in shipped}
    return models


def stopped(card: ModelCard, quality: str, iters: int | None) -> ModelCard:
    """The card of a network with the steps that ``iters`` or ``quality`` asks for."""
    return card.stopped_after(card.fewest_steps if quality == FAST else iters)


def smaller_models(scales: Sequence[int]) -> list[list[str]]:
    """The names of smaller networks for passes of these scales, the larger ones first."""
    shipped = catalogue.names()
    chains = [[f"{member}-x{scale}" for scale in scales] for member in reversed(_SMALLER)]
    return [chain for chain in chains if all(name in shipped for name in chain)]

"""Our network, at x2, x3 and x4. The scores are in docs/models and in the cards.

``loopsr train loop_x2 --hr FOLDER... --threads 1``, then ``loop_x3`` and ``loop_x4``, which start
from the x2 weights. The first part of a run trains one step of the loop, at half the price; the
second step then starts as the identity, and both are supervised, so that either may be the last.
"""

from __future__ import annotations

from loopsr.recipes.pictures import PICTURES
from loopsr.train.recipe import LossSettings, OptimSettings, Recipe

# Seconds of training on one thread of a machine with AVX2, and how many of them train one step.
_SECONDS = {2: 3500.0, 3: 2000.0, 4: 2800.0}


def recipe(*, scale: int) -> Recipe:
    """Settings of the weights ``loop-xN``."""
    return Recipe(
        name=f"loop-x{scale}",
        network="loop",
        scale=scale,
        data=PICTURES,
        loss=LossSettings(name="l1", luma=1.0, supervision=(0.3, 1.0)),
        optim=OptimSettings(name="muon", learning_rate=5e-3, other_learning_rate=2e-3, decay=0.3),
        grow=0.8,
        seconds=_SECONDS[scale],
        warm_start=None if scale == 2 else "loop-x2",
    )

"""Our network, at x2, x3 and x4; scores are in the cards (``loopsr models NAME``).

``loopsr train loop_x2 --hr FOLDER...``, then ``loop_x3`` and ``loop_x4``, which start from the x2
weights. The weights that ship were trained by the clock (``--set seconds=...``);
docs/log.md has the commands.

The first third of a run trains one step of the loop, at half the price; the second step then starts
as the identity, and both are supervised, so that either may be the last.
"""

from __future__ import annotations

from loopsr.recipes.pictures import PICTURES
from loopsr.train.recipe import LossSettings, OptimSettings, Recipe

_FROM_SCRATCH = OptimSettings(name="muon", learning_rate=5e-3, other_learning_rate=2e-3)
# Lower: the full rate undoes what the trained cell knows (docs/log.md).
_FROM_X2 = OptimSettings(name="muon", learning_rate=3e-3, other_learning_rate=1.5e-3, decay=0.9)


def recipe(*, scale: int) -> Recipe:
    """Settings of the weights ``loop-xN``."""
    return Recipe(
        name=f"loop-x{scale}",
        network="loop",
        scale=scale,
        data=PICTURES,
        description="One cell of five convolutions, run twice, over a bilinear picture.",
        loss=LossSettings(name="l1", luma=1.0, supervision=(0.3, 1.0)),
        optim=_FROM_SCRATCH if scale == 2 else _FROM_X2,
        grow=0.35,
        choices=4,
        steps=60_000,
        warm_start=None if scale == 2 else "loop-x2",
    )

"""Our network, at x2, x3 and x4; scores are in the cards (``loopsr models NAME``).

``loopsr train loop_x2 --hr FOLDER...`` (likewise x3, x4), then its finish: the same command with
another --out and ``--set warm_start=runs/loop_x2/loop-x2.safetensors --set loss.name=psnr --set
choices=1 --set grow=0.0 --set optim.learning_rate=1.5e-3 --set optim.other_learning_rate=6e-4``.
The weights that ship were trained by the clock (``--set seconds=...``); docs/log.md has the times.

The first third of a run trains one step of the loop, at half the price; the second step then starts
as the identity, and both are supervised, so that either may be the last.
"""

from __future__ import annotations

from loopsr.recipes.pictures import PICTURES
from loopsr.train.recipe import LossSettings, OptimSettings, Recipe


def recipe(*, scale: int) -> Recipe:
    """Settings of the weights ``loop-xN``."""
    return Recipe(
        name=f"loop-x{scale}",
        network="loop",
        scale=scale,
        data=PICTURES,
        description="One cell of seven convolutions, run twice, over a bilinear picture.",
        loss=LossSettings(name="l1", luma=1.0, supervision=(0.3, 1.0)),
        optim=OptimSettings(name="muon", learning_rate=5e-3, other_learning_rate=2e-3),
        grow=0.35,
        choices=4,
        steps=60_000,
    )

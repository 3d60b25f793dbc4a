"""Our network in three sizes, at x2, x3 and x4; scores are in the cards (``loopsr models NAME``).

``loopsr train loop_x2 --hr FOLDER...`` (likewise loop_s_x2, loop_xs_x2, and x3, x4), then its
finish: ``loopsr train loop_finish_x2 --hr FOLDER...``. The weights that ship were trained by the
clock (``--set seconds=...``); docs/log.md has the times. Every step is supervised, so that any may
be the last.
"""

from __future__ import annotations

from loopsr.recipes.pictures import PICTURES
from loopsr.train.recipe import LossSettings, OptimSettings, Recipe

# size -> arguments of the network, weights of the losses of its steps
SIZES: dict[str, tuple[dict[str, int], tuple[float, ...]]] = {
    "": ({"width": 32, "depth": 7, "iters": 2}, (0.3, 1.0)),
    "s": ({"width": 24, "own": 1, "depth": 1, "iters": 3}, (0.1, 0.2, 1.0)),
    "xs": ({"width": 16, "own": 1, "depth": 1, "iters": 2}, (0.2, 1.0)),
}


def recipe(*, scale: int, size: str = "") -> Recipe:
    """Settings of the weights ``loop-xN``, ``loop-s-xN`` and ``loop-xs-xN``."""
    config, supervision = SIZES[size]
    return Recipe(
        name=f"loop-{size}-x{scale}" if size else f"loop-x{scale}",
        network="loop",
        scale=scale,
        network_config=config,
        data=PICTURES,
        description="A cell of own and shared convolutions, run {iters} times, over a bilinear "
        "picture.".format(**config),
        loss=LossSettings(name="l1", luma=1.0, supervision=supervision),
        optim=OptimSettings(name="muon", learning_rate=5e-3, other_learning_rate=2e-3),
        # The large cell learns most of what it can in one step, at half the price.
        grow=0.0 if size else 0.35,
        choices=4,
        steps=100_000,
    )

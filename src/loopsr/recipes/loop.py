"""Our network in three sizes, at x2, x3 and x4; scores are in the cards (``loopsr models NAME``).

``loopsr train loop_x2 --hr FOLDER...`` (likewise loop_s_x2, loop_xs_x2, and x3, x4), then its
finish: ``loopsr train loop_finish_x2 --hr FOLDER...``. The weights that ship were trained by the
clock (``--set seconds=...``); docs/log.md has the times. Every step is supervised, so that any may
be the last.
"""

from __future__ import annotations

import dataclasses

from loopsr.recipes.pictures import PICTURES
from loopsr.train.recipe import LossSettings, OptimSettings, Recipe
from loopsr.weights import catalogue

# size -> arguments of the network; all of them take three small steps rather than one large one
SIZES: dict[str, dict[str, int]] = {
    "": {"width": 32, "own": 2, "depth": 1, "iters": 3},
    "s": {"width": 24, "own": 1, "depth": 1, "iters": 3},
    "xs": {"width": 16, "own": 1, "depth": 1, "iters": 2},
}


def recipe(*, scale: int, size: str = "") -> Recipe:
    """Settings of the weights ``loop-xN``, ``loop-s-xN`` and ``loop-xs-xN``."""
    config = SIZES[size]
    name = f"loop-{size}" if size else "loop"
    return Recipe(
        name=f"{name}-x{scale}",
        network="loop",
        scale=scale,
        network_config=config,
        data=PICTURES,
        description="A cell of own and shared convolutions, run {iters} times, over a bilinear "
        "picture.".format(**config),
        loss=LossSettings(name="l1", luma=1.0, supervision=(0.1, 0.2, 1.0)[-config["iters"] :]),
        optim=OptimSettings(name="muon", learning_rate=5e-3, other_learning_rate=2e-3),
        choices=4,
        steps=100_000,
        warm_start=None if scale == 2 else f"{name}-x2",
        revive=scale != 2,
    )


def goes_on_from(recipe: Recipe, weights: str) -> Recipe:
    """The recipe, begun from weights that ship, with the network that these have.

    A card keeps what its network was; the recipes of today may build another one.
    """
    config = dict(recipe.network_config)
    if weights in catalogue.names():
        config = {k: v for k, v in catalogue.card(weights).config.items() if k != "scale"}
    steps = len(recipe.loss.supervision)
    supervision = recipe.loss.supervision[max(0, steps - config["iters"]) :]
    return dataclasses.replace(
        recipe,
        network_config=config,
        loss=dataclasses.replace(recipe.loss, supervision=supervision),
        warm_start=weights,
    )

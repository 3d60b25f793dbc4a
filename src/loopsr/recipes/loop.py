"""Our network in three sizes, at x2, x3 and x4; scores are in the cards (``loopsr models NAME``).

``loopsr train loop_x2 --hr FOLDER...`` (likewise loop_s_x2, loop_xs_x2, and x3, x4), then its
finish: ``loopsr train loop_finish_x2 --hr FOLDER...``. The weights that ship were trained by the
clock (``--set seconds=...``), those of ``loop`` on a GPU with larger batches (``--set batch=16
--set patch=64``); docs/log.md has the times. Those of ``loop-s`` and ``loop-xs`` are older: without
``colours`` and ``copies``, the best of four choices. Every step is supervised, so that any may be
the last.
"""

from __future__ import annotations

import dataclasses

from loopsr.recipes.pictures import PICTURES
from loopsr.train.recipe import LossSettings, OptimSettings, Recipe
from loopsr.weights import catalogue

# size -> network and its arguments; all of them take small steps rather than one large one
SIZES: dict[str, tuple[str, dict[str, int]]] = {
    "": ("loopnext", {"width": 32, "own": 4, "depth": 2, "iters": 3}),
    "s": ("loopnext", {"width": 32, "own": 1, "depth": 1, "iters": 3}),
    "xs": ("loopnext", {"width": 16, "own": 2, "depth": 1, "iters": 2}),
}
# network -> what its cards say of it
DESCRIPTIONS = {
    "loop": "A cell of own and shared convolutions, run {iters} times, over a bilinear picture.",
    "loopnext": "Own and shared units, depthwise and 1x1, run {iters} times, over a bilinear "
    "picture.",
}


def recipe(*, scale: int, size: str = "") -> Recipe:
    """Settings of the weights ``loop-xN``, ``loop-s-xN`` and ``loop-xs-xN``."""
    network, config = SIZES[size]
    name = f"loop-{size}" if size else "loop"
    return Recipe(
        name=f"{name}-x{scale}",
        network=network,
        scale=scale,
        network_config=config,
        data=PICTURES,
        description=DESCRIPTIONS[network].format(**config),
        loss=LossSettings(name="l1", luma=1.0, supervision=(0.1, 0.2, 1.0)[-config["iters"] :]),
        optim=OptimSettings(name="muon", learning_rate=5e-3, other_learning_rate=2e-3),
        choices=2,
        colours=True,
        copies=2,
        steps=100_000,
        warm_start=None if scale == 2 else f"{name}-x2",
        revive=scale != 2,
    )


def goes_on_from(recipe: Recipe, weights: str) -> Recipe:
    """The recipe, begun from weights that ship, with the network that these have.

    A card keeps what its network was; the recipes of today may build another one.
    """
    network, config = recipe.network, dict(recipe.network_config)
    if weights in catalogue.names():
        card = catalogue.card(weights)
        network = card.network
        config = {key: value for key, value in card.config.items() if key != "scale"}
    steps = len(recipe.loss.supervision)
    supervision = recipe.loss.supervision[max(0, steps - config["iters"]) :]
    return dataclasses.replace(
        recipe,
        network=network,
        network_config=config,
        loss=dataclasses.replace(recipe.loss, supervision=supervision),
        warm_start=weights,
    )

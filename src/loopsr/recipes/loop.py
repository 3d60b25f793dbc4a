"""Our network in three sizes, at x2, x3 and x4; scores are in the cards (``loopsr models NAME``).

``loopsr train loop_x2 --hr FOLDER`` (likewise loop_s_x2, loop_xs_x2, and x3, x4), then its
finish: ``loopsr train loop_finish_x2 --hr FOLDER``. The weights that ship were trained by the
clock (``--set seconds=...``), those of ``loop`` on a GPU (``--set batch=16 --set patch=64``, the
last run in batches of 32), those of ``loop-s`` and ``loop-xs`` on a core of a CPU
(``--set patch=48``); docs/log.md has the times.
Every step is supervised, so that any may be the last.
"""

from __future__ import annotations

from loopsr.recipes.pictures import WITH_DRAWINGS
from loopsr.train.recipe import LossSettings, OptimSettings, Recipe

# size -> arguments of the network; all of them take small steps rather than one large one
SIZES = {
    "": {"width": 32, "own": 4, "depth": 2, "iters": 4, "distinct": 3},
    "s": {"width": 32, "own": 1, "depth": 1, "iters": 3},
    "xs": {"width": 16, "own": 2, "depth": 1, "iters": 2},
}
_SUPERVISION = (0.05, 0.1, 0.2, 1.0)  # of the last steps
DESCRIPTION = "Own and shared units, depthwise and 1x1, run {iters} times, over a bilinear picture."


def recipe(*, scale: int, size: str = "") -> Recipe:
    """Settings of the weights ``loop-xN``, ``loop-s-xN`` and ``loop-xs-xN``."""
    config = SIZES[size]
    name = f"loop-{size}" if size else "loop"
    return Recipe(
        name=f"{name}-x{scale}",
        network="loop",
        scale=scale,
        network_config=config,
        data=WITH_DRAWINGS,
        description=DESCRIPTION.format(**config),
        loss=LossSettings(name="l1", luma=1.0, supervision=_SUPERVISION[-config["iters"] :]),
        optim=OptimSettings(name="muon", learning_rate=5e-3, other_learning_rate=2e-3),
        choices=2,
        colours=True,
        negatives=not size,  # the smaller networks learn less by heart
        copies=2,
        steps=100_000,
        warm_start=None if scale == 2 else f"{name}-x2",
        revive=scale != 2,
    )

"""Our network at x2.

Command: ``loopsr train loop_x2 --hr FOLDER...``.
"""

from __future__ import annotations

from loopsr.train.recipe import LossSettings, OptimSettings, Recipe


def recipe() -> Recipe:
    """Settings of the weights ``loop-x2``."""
    return Recipe(
        name="loop-x2",
        network="loop",
        scale=2,
        data="CID22 (CC BY-SA 4.0), CLIC 2025 (Unsplash License), openly licensed photographs",
        loss=LossSettings(name="l1"),
        optim=OptimSettings(name="muon", learning_rate=1e-2, other_learning_rate=2e-3),
        steps=20_000,
        batch=8,
        patch=32,
    )

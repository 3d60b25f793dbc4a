"""Our network at x4.

Command: ``loopsr train loop_x4 --hr FOLDER...``.
"""

from __future__ import annotations

from loopsr.train.recipe import LossSettings, OptimSettings, Recipe


def recipe() -> Recipe:
    """Settings of the weights ``loop-x4``."""
    return Recipe(
        name="loop-x4",
        network="loop",
        scale=4,
        data="CID22 (CC BY-SA 4.0), CLIC 2025 (Unsplash License), openly licensed photographs",
        loss=LossSettings(name="l1"),
        optim=OptimSettings(name="muon", learning_rate=1e-2, other_learning_rate=2e-3),
        steps=20_000,
        batch=8,
        patch=32,
    )

"""The paper's network at x4, trained as ``loop_x4`` is, so that the two can be compared.

Command: ``loopsr train lrn_x4 --hr FOLDER``. The paper trains with MSE + 0.01 x a perceptual loss
(VGG), Adam 1e-4, batch 64, crops of 48, 100 epochs. The perceptual part is left out here: it costs
PSNR, and needs the weights of a network trained on pictures without an open licence. The rest is
``--set optim.name=adam --set optim.learning_rate=1e-4 --set loss.name=mse --set batch=64 --set
patch=48``.
"""

from __future__ import annotations

from loopsr.train.recipe import LossSettings, OptimSettings, Recipe


def recipe() -> Recipe:
    """Settings of the weights ``lrn-x4``."""
    return Recipe(
        name="lrn-x4",
        network="lrn",
        scale=4,
        data="CID22 (CC BY-SA 4.0), CLIC 2025 (Unsplash License), openly licensed photographs",
        loss=LossSettings(name="l1"),
        optim=OptimSettings(name="muon", learning_rate=1e-2, other_learning_rate=2e-3),
        steps=20_000,
        batch=8,
        patch=32,
    )

"""The paper's network, trained on the same pictures as ``loop`` and as many of them.

``loopsr train lrn_x2 --hr FOLDER --threads 1``, then ``lrn_x3`` and ``lrn_x4``. The paper trains
with MSE + 0.01 x a perceptual loss (VGG), Adam 1e-4, batch 64, crops of 48, 100 epochs. The
perceptual part is left out here: it costs PSNR, and needs the weights of a network trained on
pictures without an open licence. The rest is ``--set optim.name=adam --set
optim.learning_rate=1e-4 --set loss.name=mse --set loss.luma=0.0 --set batch=64 --set patch=48``.
"""

from __future__ import annotations

from loopsr.recipes.pictures import PICTURES
from loopsr.train.recipe import LossSettings, OptimSettings, Recipe


def recipe(*, scale: int) -> Recipe:
    """Settings of the weights ``lrn-xN``."""
    return Recipe(
        name=f"lrn-x{scale}",
        network="lrn",
        scale=scale,
        data=PICTURES,
        description="One convolution, run many times, between an encoder and a decoder.",
        paper=(
            "Hossain, Rahman, Amin, Ali: Lightweight Recurrent Neural Network for Image "
            "Super-Resolution, ICIP 2024"
        ),
        loss=LossSettings(name="l1", luma=1.0),
        optim=OptimSettings(name="muon", learning_rate=1e-3, other_learning_rate=1e-3, decay=0.3),
        choices=2,
        steps=60_000,
        warm_start=None if scale == 2 else "lrn-x2",
    )

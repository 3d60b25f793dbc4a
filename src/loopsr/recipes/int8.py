"""``loop`` in 8-bit integers, in three sizes at x2, x3, x4: weights that know of their rounding.

``loopsr train loop_int8_x2 --hr FOLDER`` (likewise loop_s_int8_x2, loop_xs_int8_x2, and x3, x4)
goes on from the weights that ship as ``loop-x2`` (others: ``--set warm_start=FILE.safetensors``)
and packages ``loop-x2.int8``; ``--install`` ships it. A few minutes on one core are enough. Without
any training: ``python -m loopsr.export.quantize``. Loss and crops are those of the finish. No
``loop-xN.int8`` ships: on a processor with AVX2 alone it is no faster than ``loop-xN`` in float32.
"""

from __future__ import annotations

import dataclasses

from loopsr.recipes import finish
from loopsr.train.recipe import Recipe


def recipe(*, scale: int, size: str = "") -> Recipe:
    """Settings of the weights ``loop-xN.int8``, ``loop-s-xN.int8`` and ``loop-xs-xN.int8``."""
    whole = finish.recipe(scale=scale, size=size)
    return dataclasses.replace(
        whole,
        name=f"{whole.name}.int8",
        description=f"{whole.description[:-1]}; its hidden layers compute in 8-bit integers.",
        warm_start=whole.name,
        quantize="int8",
        teacher=None,
        optim=dataclasses.replace(whole.optim, learning_rate=5e-4, other_learning_rate=3e-4),
        beyond=0,
        batch=8,
        patch=32,
        steps=3_000,
    )

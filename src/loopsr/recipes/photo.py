"""``loop`` for pictures as people have them: blurred, noisy, resized, JPEG; at x2 and x4.

``loopsr train loop_photo_x2 --hr FOLDER`` goes on from the weights ``loop-x2``. The first call
degrades every picture ``variants`` times, which takes minutes; later ones find the result.
benchmarks/photo.py measures what is won on JPEG and lost on clean pictures.
"""

from __future__ import annotations

import dataclasses

from loopsr.recipes import loop
from loopsr.recipes.pictures import PICTURES
from loopsr.train.recipe import Recipe

# scale -> degradation, and how often each picture is degraded
_FATES = {2: ("photo", 8), 4: ("photo_x4", 16)}


def recipe(*, scale: int) -> Recipe:
    """Settings of the weights ``loop-xN.photo``."""
    plain = loop.recipe(scale=scale)
    degradation, variants = _FATES[scale]
    return dataclasses.replace(
        plain,
        name=f"{plain.name}.photo",
        description="As loop, trained on blur, noise, several resizes and JPEG in random order.",
        data=PICTURES,
        warm_start=plain.name,
        degradation=degradation,
        variants=variants,
        # The more detailed of two crops would be the noisier one.
        choices=1,
        # JPEG spoils brightness and colour each in its own way, so the colours keep their order.
        colours=False,
        negatives=False,  # brought nothing at x4 (docs/log.md)
        copies=0,  # the variants are many enough
        revive=True,
    )

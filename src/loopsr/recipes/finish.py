"""The last part of a training run of ``loop``, at a low rate: ``loopsr train loop_finish_x2``.

It goes on from ``runs/loop_x2`` (pass ``--set warm_start=FILE`` for another place) with what is
measured in the end: the mean over pictures of PSNR, on crops of all kinds instead of the ones with
most detail, in larger batches. Some batches run one step more than the network has, so that a step
too many does no harm. ``loop-s`` and ``loop-xs`` learn from pictures that ``loop`` made as well as
from the sharp ones. docs/log.md has what each part brings.
"""

from __future__ import annotations

import dataclasses

from loopsr.recipes import loop, photo
from loopsr.train.recipe import Recipe


def recipe(*, scale: int, size: str = "", spoilt: bool = False) -> Recipe:
    """Settings of the last steps of ``loop-xN`` (also -s, -xs), of ``loop-xN.photo`` if spoilt."""
    whole = photo.recipe(scale=scale) if spoilt else loop.recipe(scale=scale, size=size)
    run = f"loop_photo_x{scale}" if spoilt else whole.name.replace("-", "_")
    return dataclasses.replace(
        whole,
        loss=dataclasses.replace(whole.loss, name="psnr"),
        optim=dataclasses.replace(whole.optim, learning_rate=1.5e-3, other_learning_rate=6e-4),
        choices=1,
        batch=16,
        patch=40,
        beyond=4,
        steps=6_000,
        warm_start=f"runs/{run}/{whole.name}.safetensors",
        revive=False,
        teacher=f"loop-x{scale}" if size else None,
    )

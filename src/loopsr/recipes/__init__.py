"""Recipes: one file a network, and this list of what ``loopsr train`` knows."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from loopsr.errors import UnknownNameError

if TYPE_CHECKING:
    from loopsr.train.recipe import Recipe

# name -> (module with recipe(*, scale), scale)
RECIPES: dict[str, tuple[str, int]] = {
    "loop_x2": ("loopsr.recipes.loop", 2),
    "loop_x3": ("loopsr.recipes.loop", 3),
    "loop_x4": ("loopsr.recipes.loop", 4),
    "loop_photo_x2": ("loopsr.recipes.photo", 2),
    "loop_photo_x4": ("loopsr.recipes.photo", 4),
    "lrn_x2": ("loopsr.recipes.lrn", 2),
    "lrn_x3": ("loopsr.recipes.lrn", 3),
    "lrn_x4": ("loopsr.recipes.lrn", 4),
}


def find_recipe(name: str) -> Recipe:
    """The recipe of this name. Raises ``UnknownNameError``."""
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, RECIPES)
    module, scale = RECIPES[name]
    recipe: Recipe = importlib.import_module(module).recipe(scale=scale)
    return recipe

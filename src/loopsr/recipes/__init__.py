"""Recipes: one file a published result, and this list."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from loopsr.errors import UnknownNameError

if TYPE_CHECKING:
    from loopsr.train.recipe import Recipe

RECIPES: dict[str, str] = {
    "loop_x2": "loopsr.recipes.loop_x2",
    "loop_x3": "loopsr.recipes.loop_x3",
    "loop_x4": "loopsr.recipes.loop_x4",
    "lrn_x2": "loopsr.recipes.lrn_x2",
    "lrn_x3": "loopsr.recipes.lrn_x3",
    "lrn_x4": "loopsr.recipes.lrn_x4",
}


def find_recipe(name: str) -> Recipe:
    """The recipe of this name. Raises ``UnknownNameError``."""
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, RECIPES)
    recipe: Recipe = importlib.import_module(RECIPES[name]).recipe()
    return recipe

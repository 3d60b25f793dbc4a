"""Recipes: one file a network, and this list of what ``loopsr train`` knows."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from loopsr.errors import UnknownNameError

if TYPE_CHECKING:
    from loopsr.train.recipe import Recipe

# name -> (module with recipe(**options), its options)
RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    f"{name}_x{scale}": (f"loopsr.recipes.{module}", {"scale": scale, **options})
    for name, module, options, scales in (
        ("loop", "loop", {"size": ""}, (2, 3, 4)),
        ("loop_s", "loop", {"size": "s"}, (2, 3, 4)),
        ("loop_xs", "loop", {"size": "xs"}, (2, 3, 4)),
        ("loop_finish", "finish", {"size": ""}, (2, 3, 4)),
        ("loop_s_finish", "finish", {"size": "s"}, (2, 3, 4)),
        ("loop_xs_finish", "finish", {"size": "xs"}, (2, 3, 4)),
        ("loop_int8", "int8", {"size": ""}, (2, 3, 4)),
        ("loop_s_int8", "int8", {"size": "s"}, (2, 3, 4)),
        ("loop_xs_int8", "int8", {"size": "xs"}, (2, 3, 4)),
        ("loop_photo", "photo", {}, (2, 4)),
        ("loop_photo_finish", "finish", {"spoilt": True}, (2, 4)),
        ("lrn", "lrn", {}, (2, 3, 4)),
    )
    for scale in scales
}


def find_recipe(name: str) -> Recipe:
    """The recipe of this name. Raises ``UnknownNameError``."""
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, RECIPES)
    module, options = RECIPES[name]
    recipe: Recipe = importlib.import_module(module).recipe(**options)
    return recipe

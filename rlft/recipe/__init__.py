"""Recipes: composed, checked, and made into a plan."""

from rlft.recipe.build import build, differences, freeze, load_plan, recipe_hash, run_directory
from rlft.recipe.compose import Composed, compose
from rlft.recipe.own import own_words
from rlft.recipe.preflight import held_out, read_data

__all__ = [
    "Composed",
    "build",
    "compose",
    "differences",
    "freeze",
    "held_out",
    "load_plan",
    "own_words",
    "read_data",
    "recipe_hash",
    "run_directory",
]

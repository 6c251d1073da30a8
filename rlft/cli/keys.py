"""The key of a recipe that a bare name stands for, as in `--beta 0.1`."""

from rlft.recipe import compose
from rlft.recipe.groups import GROUPS
from rlft.recipe.suggest import paths_to


def full_key(name: str) -> str:
    """Returns the full key of a name: "algorithm.beta" for "beta". A name that several nodes have, or none, is looked
    for first among the algorithm's."""
    if name in (*GROUPS, "seed", "output_dir"):
        return name
    found: list[str] = []
    for recipe in ("grpo_math", "dpo_math", "ppo_math"):
        found += paths_to(name, compose([f"recipe={recipe}"]).config)
    return min(found, key=lambda path: path.count("."), default=f"algorithm.{name}")

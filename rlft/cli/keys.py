"""Which key of a recipe a bare name stands for, as in `--beta 0.1`, and which of several recipes have a key."""

from collections.abc import Sequence

from rlft.cli.options import Arguments
from rlft.recipe import compose, overrides
from rlft.recipe.compose import keys_of_nodes
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


def words_of_each(
    names: Sequence[str],
    words: Sequence[str],
    arguments: Arguments,
    group: str = "recipe",
    beside: Sequence[str] = (),
) -> dict[str, list[str]]:
    """Returns for every recipe (or other choice of a `group`, taken `beside` other choices) the words whose key it has,
    and prints which are left out where: a recipe that samples has keys that one without samples lacks. A word that fits
    none stays with all of them, to be refused.

    Raises UserError for a recipe that there is not.
    """
    chosen = [word for word in words if word.partition("=")[0] in GROUPS]
    keys = {
        name: keys_of_nodes(
            overrides.sweep([*beside, f"{group}={name}", *chosen])[0], arguments.config_dir, arguments.plugins
        )
        for name in names
    }
    each: dict[str, list[str]] = {name: [] for name in names}
    for word in words:
        fits = [name for name in names if _has(keys[name], word.lstrip("+~").partition("=")[0])] or names
        for name in fits:
            each[name].append(word)
        if lack := [name for name in names if name not in fits]:
            print(f"{word} is left out of {', '.join(lack)}: no such key there")
    return each


def _has(keys: dict[str, list[str]], key: str) -> bool:
    node, _, field = key.partition(".")
    return node not in keys or not field or field.partition(".")[0] in keys[node]

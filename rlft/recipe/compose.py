"""From what was typed to one plain, checked mapping: Hydra composes, `check` decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlft.base import Algorithm, UserError
from rlft.recipe import groups, overrides
from rlft.recipe.check import BASES, check, field_names, plain
from rlft.recipe.engine import load, read_yaml
from rlft.recipe.suggest import closest
from rlft.recipe.trust import load_class, trusted_packages


@dataclass(frozen=True)
class Composed:
    """A composed and checked recipe.

    Attributes:
        config: plain values, every default filled in: recipe, method, seed, output_dir and a mapping for each of data,
            curriculum, reward, algorithm, model, rollout and trainer, with its `_target_`.
        choices: what was chosen from each group.
        notes: lines the user should see: files of their own that were read, settings of the recipe that were left out.
    """

    config: dict[str, Any]
    choices: dict[str, str]
    notes: list[str]


def compose(
    arguments: Sequence[str],
    config_dir: Path | None = None,
    plugins: Sequence[str] = (),
    nameless: str | None = None,
) -> Composed:
    """Returns the recipe that the arguments describe.

    Args:
        arguments: group choices (`recipe=grpo_math`) and values (`algorithm.beta=0.01`).
        config_dir: the user's own directory of recipes and groups, searched before the shipped one.
        plugins: packages whose classes may be named beside rlft's own.
        nameless: what to call a recipe made of the groups' first choices alone, where none is named; None wants one.

    Raises:
        UserError: whatever is wrong with it, with the key and what to type.
    """
    lines = overrides.single(list(arguments))
    typed = overrides.typed_keys(list(arguments))
    if nameless is None:
        _require_recipe(typed, config_dir)
    elif "recipe" not in typed:
        lines.append("~recipe")
    _require_options(lines, config_dir)
    raw, choices = load(lines, config_dir)
    if own := [key for key in ("recipe", "method") if key in raw]:
        raise UserError(f"{own[0]} is not a value of a recipe: choose with recipe=NAME and algorithm=NAME")
    raw |= {"recipe": choices["recipe"] if "recipe" in typed else nameless, "method": choices["algorithm"]}
    trusted = trusted_packages(plugins)
    notes = groups.origin_notes(choices, config_dir)
    notes += _leave_out(raw, choices, typed, config_dir, trusted)
    nodes = check(raw, trusted, lambda: algorithm_fields(config_dir, trusted))
    return Composed({key: plain(node) for key, node in nodes.items()}, choices, notes)


def algorithm_fields(config_dir: Path | None, trusted: frozenset[str]) -> dict[str, list[str]]:
    """Returns the field names of all algorithms of the group, each with the algorithms that have it."""
    owners: dict[str, list[str]] = {}
    for name, path in groups.options("algorithm", config_dir).items():
        try:
            cls = load_class(read_yaml(path).get("_target_"), Algorithm, "algorithm", trusted)
        except UserError:
            continue  # a user's file of a package that is not trusted now
        for field in field_names(cls):
            owners.setdefault(field, []).append(name)
    return owners


def keys_of_nodes(choices: list[str], config_dir: Path | None, plugins: Sequence[str]) -> dict[str, list[str]]:
    """Returns the keys that each node has room for under some choices (`recipe=NAME`, `data=online`); values are not
    looked at. Raises UserError for a choice that there is not."""
    lines = overrides.single(choices)
    _require_options(lines, config_dir)
    raw, _ = load(lines, config_dir)
    trusted = trusted_packages(plugins)
    return {
        group: field_names(load_class(raw[group].get("_target_"), base, group, trusted))
        for group, base in BASES.items()
        if isinstance(raw.get(group), dict)
    }


def _require_options(lines: list[str], config_dir: Path | None) -> None:
    for line in lines:
        group, _, name = line.partition("=")
        if group in groups.GROUPS:
            groups.require_option(group, name.strip("'\""), config_dir)


def _require_recipe(typed: frozenset[str], config_dir: Path | None) -> None:
    if "recipe" in typed:
        return
    near = closest("recipe", [key for key in typed if "." not in key and key not in groups.GROUPS])
    tip = f" (you typed {near}=)" if near else ""
    raise UserError(f"which recipe?{tip} Type recipe=NAME, one of {', '.join(groups.options('recipe', config_dir))}")


def _leave_out(
    raw: dict[str, Any],
    choices: dict[str, str],
    typed: frozenset[str],
    config_dir: Path | None,
    trusted: frozenset[str],
) -> list[str]:
    """Where another choice of a group was typed than the recipe's, removes what the recipe had set for its own choice
    and the new one has no field for, and returns a line for each. What was typed stays, and the check refuses it."""
    notes: list[str] = []
    for group, base in BASES.items():
        node = raw.get(group)
        if group not in typed or not isinstance(node, dict):
            continue
        known = field_names(load_class(node.get("_target_"), base, group, trusted))
        own = read_yaml(groups.options(group, config_dir)[choices[group]])
        for name in [name for name in node if name not in known and name not in own]:
            key = f"{group}.{name}"
            if not any(f"{other}.".startswith(f"{key}.") for other in typed):
                choice = f"{group}={choices[group]}"
                notes.append(f"{key} of recipe={choices['recipe']} is left out: {choice} has no such key")
                del node[name]
    return notes

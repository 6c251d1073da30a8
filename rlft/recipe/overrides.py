"""What was typed after the verb: `key=value` and `group=choice`, in Hydra's grammar."""

from __future__ import annotations

from copy import deepcopy
from itertools import product
from typing import TYPE_CHECKING, Any

from rlft.base import UserError
from rlft.recipe.groups import GROUPS

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


def parse(arguments: list[str]) -> list[Override]:
    """Returns the arguments parsed. Raises UserError, saying how to quote, for one that the grammar does not admit."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    parsed: list[Override] = []
    for argument in arguments:
        try:
            parsed += parser.parse_overrides([argument])
        except HydraException as error:
            key, _, value = argument.partition("=")
            quoted = '"' + value.replace('"', '\\"') + '"'
            raise UserError(f"cannot read {argument!r}: if the value is text, quote it: '{key}={quoted}'") from error
    for override in parsed:
        if override.is_hydra_override():
            raise UserError(
                f"{override.input_line}: hydra's own settings are no part of a recipe (a launcher's go "
                "with -m and with `rlft compare`: hydra/launcher=joblib hydra.launcher.n_jobs=4)"
            )
    return parsed


def single(arguments: list[str]) -> list[str]:
    """Returns the arguments as Hydra is to see them: group choices as they are, values as `++key=value`, so that one
    check afterwards, not Hydra's prefixes, decides which keys there are. Raises UserError for a sweep."""
    lines: list[str] = []
    for override in parse(arguments):
        line = override.input_line or ""
        if override.is_sweep_override():
            key, _, value = line.partition("=")
            raise UserError(f"{line} is a sweep: add -m to run every value; if it is one text: '{key}=\"{value}\"'")
        group = override.key_or_group in GROUPS or "/" in override.key_or_group
        lines.append(line if group or override.is_delete() else "++" + line.lstrip("+"))
    return lines


def sweep(arguments: list[str]) -> list[list[str]]:
    """Returns the argument list of every job: the product of all sweeps, in the order typed."""
    from hydra.errors import HydraException

    choices: list[list[str]] = []
    for override in parse(arguments):
        if not override.is_sweep_override():
            choices.append([override.input_line or ""])
            continue
        key = override.get_key_element()
        try:
            choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        except HydraException as error:
            raise UserError(f"{override.input_line}: sweeps are lists (a=1,2), choice(…) and range(…)") from error
    return [list(job) for job in product(*choices)]


def typed_keys(arguments: list[str]) -> frozenset[str]:
    """Returns the keys and groups that the arguments name."""
    return frozenset(override.key_or_group for override in parse(arguments))


def changed(config: dict[str, Any], arguments: list[str]) -> dict[str, Any]:
    """Returns a frozen recipe with values changed; a mapping is merged into the one there was, as Hydra does, and an
    empty one empties it. Whether there are such keys is left to the check. Raises UserError for a group's choice, a
    deletion or a sweep."""
    config = deepcopy(config)
    for override in parse(arguments):
        line, *path = override.input_line, *override.key_or_group.split(".")
        if override.key_or_group in GROUPS or override.is_delete() or override.is_sweep_override():
            raise UserError(f"{line}: of a frozen recipe values can be changed, one each: write data.KEY=VALUE")
        node = config
        for key in path[:-1]:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise UserError(f"{line}: {key} is a value of this recipe and has no keys of its own")
        value, before = override.value(), node.get(path[-1])
        if value and isinstance(before, dict) and isinstance(value, dict):
            value = {**before, **value}
        node[path[-1]] = value
    return config

"""What a mistyped name was probably meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


def closest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name most like the one given, or None.

    >>> closest("algoritm", ["algorithm", "data"])
    'algorithm'
    """
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=0.6)), None)


def paths_to(name: str, config: dict[str, Any]) -> list[str]:
    """Returns the full keys of a recipe that end in a name, the shortest first.

    >>> paths_to("beta", {"algorithm": {"beta": 0.04, "kl": {"beta": 1}}})
    ['algorithm.beta', 'algorithm.kl.beta']
    """
    found: list[str] = []
    for key, value in config.items():
        if key == name:
            found.append(key)
        if isinstance(value, dict):
            found += [f"{key}.{path}" for path in paths_to(name, value)]
    return sorted(found, key=lambda path: path.count("."))


def unknown_root_key(key: str, config: dict[str, Any], known: list[str]) -> str:
    """Returns the message for a key that no recipe has at its root."""
    here = [path for path in paths_to(key, config) if path != key]
    meant = closest(key, known)
    if meant := meant or next(iter(here), None):
        return f"unknown key {key!r}: did you mean {meant}?"
    return f"unknown key {key!r}: the keys are {', '.join(known)}"


def unknown_field(node: str, name: str, known: list[str], config: dict[str, Any], others: dict[str, list[str]]) -> str:
    """Returns the message for a field that a node's class does not have.

    Args:
        node: the node's key. name: the field that was asked for. known: the fields there are.
        config: the whole recipe, in which the name may stand elsewhere.
        others: fields of all algorithms, with the names of those that have them.
    """
    message = f"unknown key {node}.{name}: "
    if meant := closest(name, known):
        return message + f"did you mean {node}.{meant}?"
    if here := [path for path in paths_to(name, config) if path != f"{node}.{name}"]:
        return message + f"did you mean {here[0]}?"
    if node.partition(".")[0] == "algorithm":
        if name in others:
            return message + f"{name!r} belongs to {', '.join(others[name])} (algorithm={others[name][0]})"
        if meant := closest(name, others):
            return message + f"did you mean {meant!r} of {', '.join(others[meant])}?"
    return message + f"the keys here are {', '.join(known) or 'none'}"

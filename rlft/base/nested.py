"""Nested mappings, as recipes are, seen as one."""

from typing import Any, cast


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Returns nested mappings as one, with dotted keys.

    >>> flat({"algorithm": {"beta": 0.1}, "seed": 0})
    {'algorithm.beta': 0.1, 'seed': 0}
    """
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, part in cast("dict[Any, Any]", value).items():
        found |= flat(part, f"{prefix}.{key}" if prefix else str(key))
    return found

"""Suggestions for error messages: the name that was probably meant."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from rlft.base import UserError


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Returns " Did you mean X?" for the name nearest to `word`, or "" where none is near.

    >>> did_you_mean("quesion", ["question", "answer"])
    ' Did you mean question?'
    """
    by_lower = {name.lower(): name for name in names}
    near = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f" Did you mean {by_lower[near[0]]}?" if near else ""


def expect_choice(key: str, value: str, choices: Sequence[str]) -> None:
    """Raises UserError unless `value` is one of `choices`."""
    if value not in choices:
        raise UserError(f"data.{key}={value}: expected one of {', '.join(choices)}.{did_you_mean(value, choices)}")

"""Rows of multiple choice: the options with their letters, and which of them is right."""

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from string import ascii_uppercase as LETTERS
from typing import Any

from rlft.base import UserError
from rlft.data.files import Row

LISTS = ("choices", "options")
"""Columns that hold all options, in the order in which they are looked for."""
ANSWERS = ("answer", "answerKey", "correct", "label")
"""Columns that hold the right option, in the order in which they are looked for."""
_LETTERED = re.compile(r"\s*\(?([A-Z])\s*[).:]\s*(.*)", re.DOTALL)
_LETTER = re.compile(r"\s*\(?([A-Za-z])\s*[).:]?\s*")


def options(row: Row) -> list[str]:
    """Returns the options' texts, in order: of a list in `choices` or `options`, of {"label": […], "text": […]} in its
    place, or of the columns A, B, C, … Letters that the texts begin with are taken off.

    Raises:
        UserError: there are fewer than two, more than there are letters, or one is no text.
    """
    found = _list(row)
    texts = found.get("text") if isinstance(found, Mapping) else found
    texts = list(texts) if isinstance(texts, list | tuple) else []
    plain = all(isinstance(text, str | int | float) and str(text).strip() for text in texts)
    if not plain or not 1 < len(texts) <= len(LETTERS):
        raise UserError(
            f'{row.where}: expected at least two options, as a list of texts or {{"label": […], "text": […]}} in '
            f"column choices, or as texts in the columns A, B, …; found {found!r}"[:300]
        )
    texts = [str(text).strip() for text in texts]
    lettered = [_LETTERED.fullmatch(text) for text in texts]
    if all(match and match[1] == letter and match[2] for match, letter in zip(lettered, LETTERS, strict=False)):
        return [match[2] for match in lettered if match]
    return texts


def right_option(row: Row, texts: Sequence[str]) -> str:
    """Returns the letter of the right option, which the row names by its label, its letter, its text, or its index
    counted from 0.

    Raises:
        UserError: there is no such option, or the index of one is the text of another.
    """
    column = next((name for name in ANSWERS if name in row.values), ANSWERS[0])
    value = row.values.get(column)
    found = _named(value, texts, _labels(row))
    if len(found) == 1:
        return LETTERS[found.pop()]
    problem = "names two options, one by its index and one by its text," if found else "is none of them"
    raise UserError(
        f"{row.where}: the options are {', '.join(f'{a}. {b}' for a, b in zip(LETTERS, texts, strict=False))}, and "
        f"{value!r} in column {column} {problem}: expected a letter, an option's text, or an index counted from 0"
    )


def render(question: str, texts: Sequence[str]) -> str:
    """Returns a question with its options, a line each.

    >>> print(render("2 + 2?", ["3", "4"]))
    2 + 2?
    A. 3
    B. 4
    """
    return "\n".join([question, *(f"{letter}. {text}" for letter, text in zip(LETTERS, texts, strict=False))])


def _list(row: Row) -> Any:
    """Returns what holds the options."""
    column = next((name for name in LISTS if name in row.values), None)
    if column is not None:
        return row.values[column]
    return [row.values[letter] for letter in takewhile(row.values.__contains__, LETTERS)]


def _labels(row: Row) -> list[str]:
    found = _list(row)
    labels = found.get("label") if isinstance(found, Mapping) else None
    return [str(label) for label in labels] if isinstance(labels, list | tuple) else []


def _named(value: Any, texts: Sequence[str], labels: Sequence[str]) -> set[int]:
    """Returns the places of the options that a value may name."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return set()
    text = str(value).strip()
    if text in labels:
        return {labels.index(text)}
    letter = _LETTER.fullmatch(text)
    place = LETTERS.index(letter[1].upper()) if letter else len(texts)
    if place < len(texts):
        return {place}
    by_text = {i for i, option in enumerate(texts) if option.casefold() == text.casefold()}
    by_index = {int(text)} if text.isdecimal() and int(text) < len(texts) else set[int]()
    # A number in a column of numbers is an index, unless it may be read otherwise too.
    return by_text | by_index if isinstance(value, int | float) else by_text or by_index

"""Questions that one of two models answered rightly and the other did not, with both answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

from rlft.report.frame import about, folded, texts
from rlft.report.markup import Html, el, join

MOST_TEXT = 1500  # characters of an answer; a page is not the place for more
MOST_TITLE = 110

Answers = Mapping[str, Mapping[str, Any]]
"""Rows of an eval_*.jsonl by question."""


@dataclass(frozen=True)
class Side:
    """One of the two: what it is called, and its answers."""

    name: str
    answers: Answers


def turned(one: Answers, other: Answers) -> tuple[list[str], list[str]]:
    """Returns the questions that `one` alone answered rightly, and those that `other` alone did, each by id: ids are
    hashes, so that their order has nothing to do with the questions."""
    both = sorted(one.keys() & other.keys())
    right, wrong = ([q for q in both if one[q]["correct"] is a and other[q]["correct"] is not a] for a in (True, False))
    return right, wrong


def flips(one: Side, other: Side, most: int) -> Html:
    """Returns how many questions flipped, and at most `most` of them, as many of either kind as there are."""
    mine, theirs = turned(one.answers, other.answers)
    shared = len(one.answers.keys() & other.answers.keys())
    if not shared:
        return about(f"{one.name} and {other.name} have no answers to the same questions on disk.")
    shown = [q for q in chain.from_iterable(zip_longest(mine, theirs)) if q is not None][:most]
    counts = (
        f"Of {shared} questions, {len(mine)} were answered rightly by {one.name} alone and {len(theirs)} by "
        f"{other.name} alone" + (f"; {len(shown)} of these {len(mine) + len(theirs)} are below." if shown else ".")
    )
    return join(about(counts), *(_question(q, one, other) for q in shown))


def _question(question: str, one: Side, other: Side) -> Html:
    mine, theirs = one.answers[question], other.answers[question]
    asked = str(mine.get("question", question))
    winner = one.name if mine["correct"] else other.name
    title = join(el("span", f"{winner} right", class_="badge"), " ", clipped(asked, MOST_TITLE))
    gold = mine.get("gold")
    whole = texts(("question" if gold is None else f"question; the answer is {gold}", clipped(asked)))
    pair = texts(*((_told(side.name, row), clipped(str(row.get("text", "")))) for side, row in
                   ((one, mine), (other, theirs))))  # fmt: skip
    return folded(title, whole, pair)


def _told(name: str, row: Mapping[str, Any]) -> str:
    read = "" if row.get("extracted") is None else f", read as {clipped(str(row['extracted']), 40)}"
    cut = ", cut off at the limit" if row.get("finished") is False else ""
    return f"{name}: {'right' if row['correct'] else 'wrong'}{read}{cut}"


def clipped(text: str, most: int = MOST_TEXT) -> str:
    """Returns a text, or its beginning with the number of characters left out.

    >>> clipped("abcdef", 4)
    'abcd … (2 more characters)'
    """
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} more characters)"

"""Whether a completion chooses the right option of a multiple-choice question."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase as LETTERS
from typing import ClassVar

from rlft.base import Completion, Query, Reward, UserError
from rlft.rewards.common import Scored
from rlft.rewards.extract import canonical, tagged_answer

LONE = re.compile(r"[\s*_\"'`(\[]*([A-Za-z])[\s*_\"'`)\].:]*")
ANSWER = re.compile(r"\banswer\b(?:\s+is)?[\s:=*_]*(?:option|choice)?[\s*_\"'`(\[]*", re.IGNORECASE)
LETTER = re.compile(r"([A-Z])(?![\w'])")
BEGINS = re.compile(r"[\s*_(\[]*([A-Z])[*_)\].:]+(?=\s|$)")
OPTION = re.compile(r"\b(?:[Oo]ption|[Cc]hoice)\s+[\s*_\"'`(\[]*([A-Z])(?![\w'])")
MARKED = re.compile(r"[(\[]([A-Z])[)\]]|(?<![\w'])([A-Z])(?=[*_]*(?:[.,:;!)]|\s*$))", re.MULTILINE)


def chosen(text: str, options: Sequence[str]) -> str | None:
    r"""Returns the letter of the option that a text chooses, or None.

    What the text marks as its answer (<answer>, \boxed, ####) is read in place of the text. Of that, in this order: all
    of it, if it is a letter or an option; a letter or an option after the last "answer"; a letter it begins with ("B.
    Rome"); the last letter after "option" or "choice"; the last letter in brackets or before a stop; the only option
    that it names.

    >>> chosen("The answer is (B).", ["Paris", "Rome"]), chosen("It is Rome.", ["Paris", "Rome"])
    ('B', 'B')
    """
    text = tagged_answer(text) or text
    known = dict(zip(LETTERS, options, strict=False))
    lone = LONE.fullmatch(text)
    if lone and lone[1].upper() in known:
        return lone[1].upper()
    same = [letter for letter, option in known.items() if canonical(option) == canonical(text)]
    if len(same) == 1:
        return same[0]
    return _answered(text, known) or _lettered(text, known) or _named(text, known)


def _answered(text: str, known: dict[str, str]) -> str | None:
    for match in reversed(list(ANSWER.finditer(text))):
        rest = text[match.end() :]
        if named := _named(rest, known, begins=True):
            return named
        if (letter := LETTER.match(rest)) and letter[1] in known:
            return letter[1]
    return None


def _lettered(text: str, known: dict[str, str]) -> str | None:
    if (begins := BEGINS.match(text)) and begins[1] in known:
        return begins[1]
    for pattern in (OPTION, MARKED):
        letters = [letter for match in pattern.finditer(text) for letter in match.groups() if letter in known]
        if letters:
            return letters[-1]
    return None


def _named(text: str, known: dict[str, str], begins: bool = False) -> str | None:
    """Returns the only option that a text names, or begins with; of one within another the longer."""
    look = re.match if begins else re.search
    named = [x for x, option in known.items() if look(rf"(?<!\w){re.escape(option)}(?!\w)", text, re.IGNORECASE)]
    whole = [x for x in named if not any(x != y and known[x].casefold() in known[y].casefold() for y in named)]
    return whole[0] if len(whole) == 1 else None


@dataclass(kw_only=True)
class MultipleChoice(Scored):
    """1 if the completion chooses the right option (`chosen`), by its letter or its text, else 0."""

    label: ClassVar[str] = "multiple_choice"

    def rate(self, query: Query, completions: tuple[Completion, ...]) -> list[Reward]:
        options = query.metadata.get("choices")
        if not isinstance(options, list) or query.answer is None:
            raise UserError(
                f"reward=multiple_choice: query {query.id} has no options; the data needs a column `choices` (a list) "
                "or the columns A, B, …, and `answer`"
            )
        letters = [chosen(completion.text, options) for completion in completions]
        values = [float(letter == query.answer) for letter in letters]
        return [
            Reward(value, {self.label: value}, extracted=letter) for value, letter in zip(values, letters, strict=True)
        ]

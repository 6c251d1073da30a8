"""Recorded pairs (o⁺, o⁻) of one q, for preference methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from rlft.base import Context, Group, Query, UserError
from rlft.data.examples import Example
from rlft.data.judged import Judged
from rlft.data.writers import Answered, balanced, strengths

T = TypeVar("T")


def combine(right: Sequence[T], wrong: Sequence[T], limit: int | None) -> list[tuple[T, T]]:
    """Returns (right, wrong) combinations, at most `limit` of them (all, if None).

    Those that share no member come first, so that a limit does not spend itself on one completion.

    >>> combine(["a", "b"], ["x", "y"], 3)
    [('a', 'x'), ('b', 'y'), ('a', 'y')]
    """
    index = [(i, j) for i in range(len(right)) for j in range(len(wrong))]
    index.sort(key=lambda ij: ((ij[1] - ij[0]) % max(len(right), len(wrong)), ij))
    return [(right[i], wrong[j]) for i, j in index[:limit]]


def check_pairs_per_question(value: int | None) -> None:
    """Raises UserError unless `data.pairs_per_question` is null or at least 1."""
    if value is not None and value < 1:
        raise UserError(f"data.pairs_per_question={value}: expected a whole number of at least 1, or null for all")


@dataclass(kw_only=True)
class Pairs(Judged):
    """Groups of two completions, the preferred one first.

    From rows with chosen and rejected, from the GSM8K model solutions (each right solution against each wrong one of
    the same question), or from completions labelled good or bad (paired within a question).

    Attributes:
        pairs_per_question: at most so many of one question; null takes every combination.
        balance_writers: whether of any two writers either one is right in as many pairs, the rest being left out: then
            who wrote an answer says nothing of which is right. Needs rows that say who wrote them, as the GSM8K model
            solutions do.
    """

    kind: ClassVar[str] = "preference"

    pairs_per_question: int | None = None
    balance_writers: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._rows: list[tuple[Example, Query]] = []

    def check(self, training: bool = True) -> None:
        """Checks the settings alone. Raises UserError."""
        super().check(training)
        check_pairs_per_question(self.pairs_per_question)
        if self.task is not None:
            raise UserError(
                f"data.task={self.task}: a task has no recorded pairs. To sample pairs: data=offline data.keep=pairs"
            )

    def held_out_groups(self, questions: int) -> list[Group]:
        """Returns every completion of a held-out question, the preferred ones with reward 1 and the others with 0."""
        asked = [each for each in self._questions(self._held_rows)[0].values() if each.right and each.wrong]
        kept = sorted({each.query.id for each in asked})[:questions]
        strength = strengths(example for example, _ in (*self._rows, *self._held_rows))
        return [each.group(strength) for each in sorted(asked, key=lambda each: each.query.id) if each.query.id in kept]

    def _prepare(self, context: Context, rows: list[tuple[Example, Query]]) -> None:
        if rows and not any(example.right or example.wrong for example, _ in rows):
            raise UserError(
                f"{self.name}: the rows have no pairs; expected chosen and rejected, the GSM8K model solutions, or "
                "prompt, completion and label. To name the columns: data.columns='{prompt: COLUMN, chosen: COLUMN, "
                "rejected: COLUMN}'; to sample pairs from the model instead: data=offline data.keep=pairs"
            )
        self._rows = rows
        questions, long = self._questions(rows)
        self._say_dropped(long)
        pairs = [
            (each, pair)
            for each in questions.values()
            for pair in combine(each.right, each.wrong, self.pairs_per_question)
        ]
        if self.balance_writers:
            pairs = balanced(pairs)
        self._groups = [Group(each.query, pair) for each, pair in pairs]
        paired = {group.query.id for group in self._groups}
        alone = len({each.query.id for each in questions.values()} - paired)
        context.say(f"data: {len(self._groups)} pairs of {len(paired)} questions; {alone} questions have none")

    def _questions(self, rows: list[tuple[Example, Query]]) -> tuple[dict[str, Answered], int]:
        """Returns the answers of each question, and how many were too long."""
        questions: dict[str, Answered] = {}
        long = 0
        for example, query in rows:
            # A preference holds between the two answers it was given for; labels hold for one answer alone.
            key = example.where if example.right and example.wrong else query.id
            answered = questions.setdefault(key, Answered(query))
            answered.writers |= example.writers
            for texts, completions in ((example.right, answered.right), (example.wrong, answered.wrong)):
                kept = self._short_enough(example, query, texts)
                long += len(texts) - len(kept)
                completions += kept
        return questions, long

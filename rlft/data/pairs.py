"""Recorded pairs (o⁺, o⁻) of one q, for preference methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from rlft.base import Completion, Context, Group, Query, UserError
from rlft.data.examples import Example
from rlft.data.judged import Judged

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
    """

    kind: ClassVar[str] = "preference"

    pairs_per_question: int | None = None

    def check(self, training: bool = True) -> None:
        """Checks the settings alone. Raises UserError."""
        super().check(training)
        check_pairs_per_question(self.pairs_per_question)
        if self.task is not None:
            raise UserError(
                f"data.task={self.task}: a task has no recorded pairs. To sample pairs: data=offline data.keep=pairs"
            )

    def _prepare(self, context: Context, rows: list[tuple[Example, Query]]) -> None:
        questions: dict[str, tuple[Query, list[Completion], list[Completion]]] = {}
        self._groups = []
        long = 0
        for example, query in rows:
            # A preference holds between the two answers it was given for; labels hold for one answer alone.
            key = example.where if example.right and example.wrong else query.id
            _, right, wrong = questions.setdefault(key, (query, [], []))
            for texts, completions in ((example.right, right), (example.wrong, wrong)):
                kept = self._short_enough(example, query, texts)
                long += len(texts) - len(kept)
                completions += kept
        if rows and not any(example.right or example.wrong for example, _ in rows):
            raise UserError(
                f"{self.name}: the rows have no pairs; expected chosen and rejected, the GSM8K model solutions, or "
                "prompt, completion and label. To name the columns: data.columns='{prompt: COLUMN, chosen: COLUMN, "
                "rejected: COLUMN}'; to sample pairs from the model instead: data=offline data.keep=pairs"
            )
        self._say_dropped(long)
        for query, right, wrong in questions.values():
            pairs = combine(right, wrong, self.pairs_per_question)
            self._groups += [Group(query, pair) for pair in pairs]
        paired = {group.query.id for group in self._groups}
        alone = len({query.id for query, _, _ in questions.values()} - paired)
        context.say(f"data: {len(self._groups)} pairs of {len(paired)} questions; {alone} questions have none")

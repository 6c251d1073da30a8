"""Who wrote the answers: writers differ in how often they are right, and a score must not learn that instead."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from rlft.base import Completion, Group, Query, Reward, UserError
from rlft.data.examples import Example

Pair = tuple[Completion, Completion]


@dataclass
class Answered:
    """A question with its right and wrong answers, and who wrote each text, where it is known."""

    query: Query
    right: list[Completion] = field(default_factory=list)
    wrong: list[Completion] = field(default_factory=list)
    writers: dict[str, str] = field(default_factory=dict)

    def group(self, strength: dict[str, float]) -> Group:
        """Returns all answers, the right ones first, with rewards 1 and 0, and `writers` and `strength` in the query's
        metadata."""
        completions = (*self.right, *self.wrong)
        rewards = (*(Reward(1.0) for _ in self.right), *(Reward(0.0) for _ in self.wrong))
        writers = [self.writers.get(completion.text) for completion in completions]
        metadata = self.query.metadata | {"writers": writers, "strength": strength}
        return Group(replace(self.query, metadata=metadata), completions, rewards)


def strengths(examples: Iterable[Example]) -> dict[str, float]:
    """Returns of each writer the share of its answers that are right."""
    right, all_ = Counter[str](), Counter[str]()
    for example in examples:
        for text, writer in example.writers.items():
            right[writer] += text in example.right
            all_[writer] += 1
    return {writer: right[writer] / count for writer, count in all_.items()}


def balanced(pairs: Sequence[tuple[Answered, Pair]]) -> list[tuple[Answered, Pair]]:
    """Returns those pairs that remain when of any two writers either is right in as many: who wrote an answer then says
    nothing of which is right. Which are left out depends on the questions' ids, not on their order.

    Raises:
        UserError: it is not known who wrote an answer.
    """
    by = [_writers(answered, pair) for answered, pair in pairs]
    count, kept = Counter(by), Counter[tuple[str, str]]()
    chosen: list[int] = []
    for place in sorted(range(len(pairs)), key=lambda place: (pairs[place][0].query.id, place)):
        right, wrong = by[place]
        if kept[right, wrong] < min(count[right, wrong], count[wrong, right]):
            kept[right, wrong] += 1
            chosen.append(place)
    return [pairs[place] for place in sorted(chosen)]


def _writers(answered: Answered, pair: Pair) -> tuple[str, str]:
    right, wrong = (answered.writers.get(completion.text) for completion in pair)
    if right is None or wrong is None:
        raise UserError(
            f"data.balance_writers=true: who wrote the answers to {answered.query.messages[-1]['content'][:60]!r} is "
            "not known; it is of the GSM8K model solutions. Type data.balance_writers=false"
        )
    return right, wrong

"""Curricula that learn from the policy's answers and draw questions by weights."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from rlft.base import Group, Pool, UserError, generator
from rlft.data.curriculum.graded import Graded, buckets


@dataclass(kw_only=True)
class Weighted(Graded):
    """Draws rows with probabilities that go by what was observed so far, none twice in a step.

    Attributes:
        buckets: groups of questions about as hard as each other, at most: one for each difficulty there is, or if there
            are more, so many of about the same size.
    """

    buckets: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self._buckets = torch.empty(0, dtype=torch.long)
        self._effective: float | None = None
        if self.buckets < 1:
            raise UserError(f"curriculum.buckets={self.buckets}: expected a whole number of at least 1")

    @property
    def needs(self) -> frozenset[str]:
        return super().needs | {"feedback"}

    def bind(self, pool: Pool) -> None:
        super().bind(pool)
        numbers = buckets(self._grades, self.buckets)
        self._buckets = torch.tensor(numbers)
        self._bucket_of = {pool.queries[row].id: number for row, number in zip(self._rows, numbers, strict=True)}
        of: dict[int, list[float]] = {number: [] for number in range(max(numbers) + 1)}
        for number, grade in zip(numbers, self._grades, strict=True):
            of[number].append(grade)
        parts = [f"{_span(grades)} ({len(grades)})" for grades in of.values()]
        pool.say(f"curriculum: questions by {self.scale}: {', '.join(parts)}")

    @abstractmethod
    def probabilities(self) -> Tensor:
        """Returns the probability [rows] float64 of each row to be drawn first."""

    def next(self, position: int, n: int) -> list[int]:
        p = self.probabilities()
        self._effective = float(1 / p.square().sum())
        drawn: list[int] = []
        while len(drawn) < n:  # a second time only where fewer rows than n can be drawn at all
            drawn += draw(p, n - len(drawn), self._bound().seed, position + len(drawn))
        return [self._rows[place] for place in drawn]

    def metrics(self) -> dict[str, float | None]:
        """Returns the number of questions that would be as many if all were equally probable, 1/Σp²."""
        return {"effective_questions": self._effective}


def draw(probabilities: Tensor, n: int, seed: int, position: int) -> list[int]:
    """Returns up to n different indices, as drawn one after the other in proportion to the probabilities of those that
    are left: the order in which exponential clocks of those rates ring (Efraimidis and Spirakis, Inf. Process. Lett.
    97:181-185, 2006)."""
    uniform = torch.rand(len(probabilities), generator=generator(seed, "curriculum", position), dtype=torch.float64)
    rings = -torch.log1p(-uniform) / probabilities
    possible = min(n, int((probabilities > 0).sum()))
    return rings.argsort(stable=True)[:possible].tolist()


def passed(group: Group) -> tuple[int, int]:
    """Returns how many of a group's completions are right, and of how many that is known."""
    known = [reward.value > 0.5 for reward in group.rewards if reward.error is None]
    return sum(known), len(known)


def _span(grades: list[float]) -> str:
    low, high = min(grades), max(grades)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"

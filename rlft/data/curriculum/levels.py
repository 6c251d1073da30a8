"""A level after the other, each once the one before it is mastered."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from rlft.base import Group, UserError
from rlft.data.curriculum.weighted import Weighted, passed


@dataclass(kw_only=True)
class Levels(Weighted):
    """Draws questions of the present level, and some of those below; the level goes up when the pass rate of the latest
    groups at it reaches a bound. The levels are the difficulties there are (at most `buckets`), 0 the easiest.

    Attributes:
        bound: pass rate from which the next level comes, above 0 and at most 1.
        window: groups at the present level over whose mean that is judged.
        review: share of the draws that go to the levels below, so that they are not forgotten.
    """

    label: ClassVar[str] = "levels"

    bound: float = 0.7
    window: int = 32
    review: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        self._level = 0
        self._recent: list[float] = []
        self._drawn_at: dict[str, float | None] = {}
        if not 0 < self.bound <= 1:
            raise UserError(f"curriculum.bound={self.bound:g}: expected a pass rate above 0 and at most 1")
        if self.window < 1:
            raise UserError(f"curriculum.window={self.window}: expected a whole number of at least 1")
        if not 0 <= self.review < 1:
            raise UserError(f"curriculum.review={self.review:g}: expected a share from 0 to below 1")

    def probabilities(self) -> Tensor:
        here, below = self._buckets == self._level, self._buckets < self._level
        self._drawn_at = {"level": self._level, "pass_rate": self._pass_rate()}
        review = self.review if bool(below.any()) else 0.0
        return (1 - review) * here.double() / here.sum() + review * below.double() / below.sum().clamp(min=1)

    def observe(self, groups: list[Group]) -> None:
        """Takes in the groups at the present level, and goes up if it is mastered."""
        for group in groups:
            right, total = passed(group)
            if total and self._bucket_of[group.query.id] == self._level:
                self._recent.append(right / total)
        self._recent = self._recent[-self.window :]
        rate = self._pass_rate()
        mastered = rate is not None and len(self._recent) == self.window and rate >= self.bound
        if mastered and self._level < int(self._buckets.max()):
            self._bound().say(f"curriculum: level {self._level + 1}, pass rate at level {self._level} is {rate:.0%}")
            self._level += 1
            self._recent = []

    def metrics(self) -> dict[str, float | None]:
        """Returns the level that was drawn at, and the pass rate at it so far."""
        return super().metrics() | self._drawn_at

    def state_dict(self) -> dict[str, Any]:
        """Returns the level and the latest pass rates at it."""
        return {"level": self._level, "recent": self._recent}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._level, self._recent = state["level"], list(state["recent"])

    def _pass_rate(self) -> float | None:
        return sum(self._recent) / len(self._recent) if self._recent else None

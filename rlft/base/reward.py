"""The reward plugin: r(q, o)."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from rlft.base.types import Group


class Reading(NamedTuple):
    """What a model has read on this process to judge completions, for the bill.

    Attributes:
        model: the module.
        positions: tokens read. keys: Σ over them of the tokens each attends to. scored: positions that its head scored.
    """

    model: Any
    positions: int
    keys: int
    scored: int


class RewardFunction(ABC):
    """The second part of a method. Subclasses are dataclasses; their fields are the schema of the `reward` node."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name under which its value is logged, e.g. "math_answer"."""

    @property
    def stepwise(self) -> bool:
        """Whether its rewards have `steps`, for algorithms that need them."""
        return False

    @abstractmethod
    def score(self, groups: list[Group]) -> list[Group]:
        """Returns the groups with one `Reward` per completion; called on this process's share of a batch."""

    def finish(self, groups: list[Group]) -> list[Group]:
        """Returns the groups with transformed rewards; called once on the whole batch, after scoring. The identity
        unless a subclass has ranks, clips or scales by the batch."""
        return groups

    @property
    def judges(self) -> bool:
        """Whether it looks at completions. One that only repeats what the data says makes no reward calls."""
        return True

    def readings(self) -> list[Reading]:
        """Returns what the models that it runs have read so far."""
        return []

    def check(self) -> None:  # noqa: B027  # most rewards need nothing
        """Raises UserError for what it needs and there is not, before a run loads anything."""

    def close(self) -> None:  # noqa: B027  # most rewards start nothing
        """Ends whatever was started to score (worker processes); called when a run ends."""

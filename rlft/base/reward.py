"""The reward plugin: r(q, o)."""

from abc import ABC, abstractmethod

from rlft.base.types import Group


class RewardFunction(ABC):
    """The second part of a method. Subclasses are dataclasses; their fields are the schema of the `reward` node."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name under which its value is logged, e.g. "math_answer"."""

    @abstractmethod
    def score(self, groups: list[Group]) -> list[Group]:
        """Returns the groups with one `Reward` per completion; called on this process's share of a batch."""

    def finish(self, groups: list[Group]) -> list[Group]:
        """Returns the groups with transformed rewards; called once on the whole batch, after scoring. The identity
        unless a subclass has ranks, clips or scales by the batch."""
        return groups

    def close(self) -> None:  # noqa: B027  # most rewards start nothing
        """Ends whatever was started to score (worker processes); called when a run ends."""

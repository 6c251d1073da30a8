"""Rewards that need nothing but the completion: 1, its length, its label, its place in a pair."""

from dataclasses import dataclass
from typing import ClassVar

from rlft.base import Completion, Query, Reward, UserError
from rlft.rewards.common import Scored


@dataclass(kw_only=True)
class Implicit(Scored):
    """r = 1 for every completion: what SFT says of its data (DeepSeekMath, arXiv 2402.03300, Appendix A.1.1)."""

    label: ClassVar[str] = "implicit"

    @property
    def judges(self) -> bool:
        return False

    def rate(self, query: Query, completions: tuple[Completion, ...]) -> list[Reward]:
        return [Reward(1.0, {self.label: 1.0}) for _ in completions]


@dataclass(kw_only=True)
class Length(Scored):
    """0 up to `free` tokens, then a straight line down to `penalty` at `limit` tokens, and `penalty` beyond.

    The soft over-long punishment of DAPO (arXiv 2503.14476, Eq. 13), with L_max = limit, L_cache = limit - free.

    Attributes:
        free: tokens that cost nothing.
        limit: tokens from which the whole penalty is due.
        penalty: the reward at and beyond `limit`.
    """

    label: ClassVar[str] = "length"

    free: int
    limit: int
    penalty: float = -1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.free < self.limit:
            raise UserError(f"reward.free={self.free} must be at least 0 and below reward.limit={self.limit}")

    def rate(self, query: Query, completions: tuple[Completion, ...]) -> list[Reward]:
        rewards = []
        for completion in completions:
            excess = (len(completion.token_ids) - self.free) / (self.limit - self.free)
            value = self.penalty * min(max(excess, 0.0), 1.0)
            rewards.append(Reward(value, {self.label: value}))
        return rewards


@dataclass(kw_only=True)
class Label(Scored):
    """The label that was recorded with a completion, 1 or 0 (`data=labelled`)."""

    label: ClassVar[str] = "label"

    @property
    def judges(self) -> bool:
        return False

    def rate(self, query: Query, completions: tuple[Completion, ...]) -> list[Reward]:
        label = query.metadata.get("label")
        if label is None:
            raise UserError(
                f"reward=label: query {query.id} has no label; take a data source that has (data=labelled) or another "
                "reward (reward=math_answer)"
            )
        return [Reward(float(label), {self.label: float(label)}) for _ in completions]


@dataclass(kw_only=True)
class PreferenceLabel(Scored):
    """The label in the data: 1 for the first completion of a pair, 0 for the second.

    Raises UserError for a group that is no pair.
    """

    label: ClassVar[str] = "preference"

    @property
    def judges(self) -> bool:
        return False

    def rate(self, query: Query, completions: tuple[Completion, ...]) -> list[Reward]:
        if len(completions) != 2:
            raise UserError(
                f"reward=preference: query {query.id} has {len(completions)} completions, a pair has 2; "
                "take a data source of pairs (data=preference) or another reward (reward=math_answer)"
            )
        return [Reward(1.0, {self.label: 1.0}), Reward(0.0, {self.label: 0.0})]

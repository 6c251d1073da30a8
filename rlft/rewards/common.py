"""What every reward has: what a cut-off completion is worth, and how values are transformed over a group or batch."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import stdev
from typing import ClassVar, Literal

from rlft.base import Completion, Group, Query, Reward, RewardFunction, UserError
from rlft.rewards.worker import ISOLATED, Worker

SMALLEST_STD = 1e-8
"""Rewards that spread less than this are equal, and are not scaled."""


def untrained(completion: Completion) -> Completion:
    """Returns the completion with no token taking part in the gradient."""
    return replace(completion, trained=(False,) * len(completion.token_ids))


def penalised(reward: Reward, value: float) -> Reward:
    """Returns the reward with its value, and that of its last step if it has steps, replaced."""
    last = ((reward.steps[-1][0], value),) if reward.steps else ()
    return replace(reward, value=value, steps=(*reward.steps[:-1], *last))


def ranks(values: list[float]) -> list[float]:
    """Returns the rank of each of G values in [0, 1], ties averaged; 0.5 where there is one value.

    >>> ranks([3.0, 1.0, 1.0])
    [1.0, 0.25, 0.25]
    """
    if len(values) < 2:
        return [0.5] * len(values)
    below = [sum(other < value for other in values) for value in values]
    ties = [sum(other == value for other in values) - 1 for value in values]
    return [(low + tied / 2) / (len(values) - 1) for low, tied in zip(below, ties, strict=True)]


def spread(values: list[float]) -> float:
    """Returns the standard deviation with Bessel's correction, or 1 where the values are equal or fewer than two."""
    std = stdev(values) if len(values) > 1 else 0.0
    return std if std > SMALLEST_STD else 1.0


def mapped(groups: list[Group], change: Callable[[list[float]], list[float]]) -> list[Group]:
    """Returns the groups with the values of each group changed; parts keep what was earned."""
    result = []
    for group in groups:
        values = change([reward.value for reward in group.rewards])
        rewards = [replace(reward, value=value) for reward, value in zip(group.rewards, values, strict=True)]
        result.append(group.scored(rewards))
    return result


@dataclass(kw_only=True)
class Scored(RewardFunction):
    """A reward with the options that all rewards have.

    Attributes:
        cut_off: what to do with a completion that was cut at its limit: "train" on it like any other, "mask" it (no
            token of it is trained), or "penalise" it: its reward is `cut_off_reward` whatever it earned.
        cut_off_reward: the reward of a cut-off completion where `cut_off` is "penalise".
        transform: "rank" replaces rewards by their ranks in their group (0 the worst, 1 the best, ties averaged),
            "clip" limits them to [`clip_low`, `clip_high`].
        clip_low, clip_high: the limits of "clip".
        scale: divides rewards, after `transform`, by their standard deviation over the "group" or the whole "batch".
    """

    label: ClassVar[str]

    cut_off: Literal["train", "mask", "penalise"] = "train"
    cut_off_reward: float = 0.0
    transform: Literal["none", "rank", "clip"] = "none"
    clip_low: float = -1.0
    clip_high: float = 1.0
    scale: Literal["none", "group", "batch"] = "none"

    def __post_init__(self) -> None:
        if self.clip_low > self.clip_high:
            raise UserError(f"reward.clip_low={self.clip_low:g} is above reward.clip_high={self.clip_high:g}")

    @property
    def name(self) -> str:
        return self.label

    @abstractmethod
    def rate(self, query: Query, completions: tuple[Completion, ...]) -> list[Reward]:
        """Returns what each completion of a query earned, before anything is done about cut-off ones."""

    def score(self, groups: list[Group]) -> list[Group]:
        return [self.settle(group, self.rate(group.query, group.completions)) for group in groups]

    def settle(self, group: Group, rewards: list[Reward]) -> Group:
        """Returns the group with its rewards, and `cut_off` applied. Parts keep what was earned."""
        completions = group.completions
        if self.cut_off == "mask":
            completions = tuple(c if c.finished else untrained(c) for c in completions)
        if self.cut_off == "penalise":
            rewards = [
                reward if completion.finished else penalised(reward, self.cut_off_reward)
                for completion, reward in zip(completions, rewards, strict=True)
            ]
        return replace(group, completions=completions).scored(rewards)

    def finish(self, groups: list[Group]) -> list[Group]:
        if self.transform == "rank":
            groups = mapped(groups, ranks)
        if self.transform == "clip":
            groups = mapped(groups, lambda values: [min(max(v, self.clip_low), self.clip_high) for v in values])
        if self.scale == "group":
            groups = mapped(groups, lambda values: [value / spread(values) for value in values])
        if self.scale == "batch":
            std = spread([reward.value for group in groups for reward in group.rewards])
            groups = mapped(groups, lambda values: [value / std for value in values])
        return groups


@dataclass(kw_only=True)
class Isolated(Scored):
    """A reward that needs code which may raise or hang: it runs in a worker process that can be killed.

    Attributes:
        timeout: seconds after which a completion's reward counts as an error.
    """

    program: ClassVar[str]
    hint: ClassVar[str] = ""

    timeout: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.timeout <= 0:
            raise UserError(f"reward.timeout={self.timeout:g}: a number of seconds above 0 is needed")
        self.worker = Worker(self.reference, self.timeout, self.hint)

    @property
    def reference(self) -> str:
        """The function that the worker calls."""
        return f"{ISOLATED}/{self.program}"

    def close(self) -> None:
        self.worker.close()

"""A weighted sum of rewards."""

from dataclasses import dataclass
from typing import ClassVar

from rlft.base import Completion, Group, Query, Reading, Reward, RewardFunction, UserError
from rlft.rewards.common import Scored
from rlft.rewards.steps import Stepped


@dataclass(kw_only=True)
class Combine(Scored):
    """Σ weight · part, with every part logged under its name.

    What a part does about cut-off completions and errors holds here too. Ranks, clipping and scaling belong to the sum.
    If a part judges steps, the steps are its own; what other parts give goes to the end of the completion.

    Attributes:
        parts: rewards by name.
        weights: a number for each of these names.
    """

    label: ClassVar[str] = "combine"

    parts: dict[str, RewardFunction]
    weights: dict[str, float]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.parts or self.parts.keys() != self.weights.keys():
            raise UserError(
                f"reward.weights has {sorted(self.weights) or 'no names'}, reward.parts {sorted(self.parts)}; "
                "each part needs one weight, e.g. reward.weights.format=0.1"
            )
        for name, part in self.parts.items():
            if not _plain(part):
                raise UserError(f"reward.parts.{name} has transform or scale; set them on the sum: reward.transform")

    @property
    def name(self) -> str:
        return " + ".join(f"{self.weights[name]:g}·{part.name}" for name, part in self.parts.items())

    @property
    def judges(self) -> bool:
        return any(part.judges for part in self.parts.values())

    def check(self) -> None:
        for part in self.parts.values():
            part.check()

    def readings(self) -> list[Reading]:
        return [reading for part in self.parts.values() for reading in part.readings()]

    @property
    def stepwise(self) -> bool:
        return any(part.stepwise for part in self.parts.values())

    def rate(self, query: Query, completions: tuple[Completion, ...]) -> list[Reward]:
        return list(self.score([Group(query, completions)])[0].rewards)

    def score(self, groups: list[Group]) -> list[Group]:
        columns: list[list[Group]] = []
        for part in self.parts.values():
            groups = part.score(groups)  # a part may take tokens out of the gradient; the next sees that
            columns.append(groups)
        rows = zip(*columns, strict=True)
        return [self.settle(group, self._sum(list(scored))) for group, scored in zip(groups, rows, strict=True)]

    def close(self) -> None:
        for part in self.parts.values():
            part.close()

    def _sum(self, scored: list[Group]) -> list[Reward]:
        """Returns the sums for one group, from the group as each part scored it."""
        sums = []
        for completion, *rewards in zip(scored[-1].completions, *(group.rewards for group in scored), strict=True):
            named = dict(zip(self.parts, rewards, strict=True))
            errors = [f"{name}: {reward.error}" for name, reward in named.items() if reward.error]
            sums.append(
                Reward(
                    value=sum(self.weights[name] * reward.value for name, reward in named.items()),
                    parts={key: value for name, reward in named.items() for key, value in _parts(name, reward).items()},
                    steps=self._steps(named, completion) if self.stepwise else (),
                    extracted=next((r.extracted for r in rewards if r.extracted is not None), None),
                    error="; ".join(errors) or None,
                )
            )
        return sums

    def _steps(self, named: dict[str, Reward], completion: Completion) -> tuple[tuple[int, float], ...]:
        """Returns the sums of what was given at each place of one completion's text."""
        sums: dict[int, float] = {}
        for name, reward in named.items():
            for end, value in reward.steps or ((len(completion.text), reward.value),):
                sums[end] = sums.get(end, 0.0) + self.weights[name] * value
        return tuple(sorted(sums.items()))


def _plain(reward: RewardFunction) -> bool:
    """Whether a reward neither transforms nor scales."""
    if isinstance(reward, Stepped):
        return _plain(reward.outcome)
    if isinstance(reward, Scored):
        return reward.transform == reward.scale == "none"
    return type(reward).finish is RewardFunction.finish


def _parts(name: str, reward: Reward) -> dict[str, float]:
    """Returns a part's value under its name, and what that is made of, where it is more than one number."""
    inner = {f"{name}/{key}": value for key, value in reward.parts.items()} if len(reward.parts) > 1 else {}
    return {name: reward.value, **inner}

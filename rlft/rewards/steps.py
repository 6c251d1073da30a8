"""Rewards of steps: a completion is split where a separator stands, each step is judged, and an outcome reward judges
the whole."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from statistics import fmean
from typing import ClassVar

from rlft.base import Completion, Group, Query, Reward, RewardFunction, UserError


def split(text: str, separator: str) -> list[int]:
    r"""Returns the ends of a text's steps, in characters. A step holds its separator and what is blank around it; the
    last one ends with the text. A blank text is one step.

    >>> split("1 + 1 = 2\n\n#### 2", "\n")
    [11, 17]
    """
    ends: list[int] = []
    at, begun = 0, False
    for piece in text.split(separator):
        at = min(at + len(piece) + len(separator), len(text))
        blank = not piece.strip()
        if not ends or (begun and not blank):
            ends.append(at)
        else:
            ends[-1] = at
        begun = begun or not blank
    return ends


@dataclass(frozen=True)
class Steps:
    """A completion in steps.

    Attributes:
        query, completion: q and o. outcome: the reward of the whole.
        ends: of the steps, in characters.
    """

    query: Query
    completion: Completion
    outcome: Reward
    ends: list[int]

    @property
    def texts(self) -> list[str]:
        """The text of each step, its separator included."""
        return [self.completion.text[start:end] for start, end in pairwise([0, *self.ends])]


@dataclass(kw_only=True)
class Stepped(RewardFunction):
    """A reward of each step, beside that of the outcome, which stays the completion's value: for algorithms that do not
    read steps it is the outcome reward alone.

    Attributes:
        outcome: the reward of the whole completion. Its options hold for the value: what a cut-off completion is worth,
            ranks and scaling.
        separator: what stands between two steps.
    """

    label: ClassVar[str]

    outcome: RewardFunction
    separator: str = "\n"

    def __post_init__(self) -> None:
        if not self.separator:
            raise UserError(
                r'reward.separator is empty: a text is needed at which steps end, e.g. reward.separator="\n"'
            )

    @property
    def name(self) -> str:
        return f"{self.label} · {self.outcome.name}"

    @property
    def stepwise(self) -> bool:
        return True

    @abstractmethod
    def judge(self, answers: list[Steps]) -> list[list[float | None]]:
        """Returns the reward of each step of each completion. None joins a step to the next one; the last has a
        reward."""

    def score(self, groups: list[Group]) -> list[Group]:
        groups = self.outcome.score(groups)
        answers = [
            Steps(group.query, completion, reward, split(completion.text, self.separator))
            for group in groups
            for completion, reward in zip(group.completions, group.rewards, strict=True)
        ]
        judged = iter(self.judge(answers))
        rewards = (self._reward(answer, next(judged)) for answer in answers)
        return [group.scored(list(islice(rewards, len(group.completions)))) for group in groups]

    def finish(self, groups: list[Group]) -> list[Group]:
        return self.outcome.finish(groups)

    def check(self) -> None:
        self.outcome.check()

    def close(self) -> None:
        self.outcome.close()

    def _reward(self, answer: Steps, values: list[float | None]) -> Reward:
        steps = tuple((end, v) for end, v in zip(answer.ends, values, strict=True) if v is not None)
        parts = {**answer.outcome.parts, self.label: fmean(value for _, value in steps)}
        return replace(answer.outcome, steps=steps, parts=parts)

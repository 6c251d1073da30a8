"""Whether a completion has a format."""

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from rlft.base import Completion, Query, Reward, UserError
from rlft.rewards.common import Isolated
from rlft.rewards.worker import WorkerError


@dataclass(kw_only=True)
class Format(Isolated):
    """1 if a completion matches a regular expression, else 0.

    Attributes:
        pattern: a Python regular expression; "." matches line ends too.
        match: "full" asks it of the whole text, "search" of any part of it.
    """

    label: ClassVar[str] = "format"
    program: ClassVar[str] = "regex.py:matches"

    pattern: str
    match: Literal["full", "search"] = "full"

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            re.compile(self.pattern, re.DOTALL)
        except re.error as error:
            raise UserError(f"reward.pattern={self.pattern!r} is no regular expression: {error}") from error

    def rate(self, query: Query, completions: tuple[Completion, ...]) -> list[Reward]:
        return [self._one(completion.text) for completion in completions]

    def _one(self, text: str) -> Reward:
        try:
            value = self.worker.call(self.pattern, self.match == "full", text)
        except WorkerError as error:
            return Reward(0.0, {self.label: 0.0}, error=str(error))
        assert isinstance(value, float)
        return Reward(value, {self.label: value})

"""Whether an answer is right, whatever kind of question it answers."""

from dataclasses import dataclass, replace
from typing import ClassVar

from rlft.base import Completion, Query, Reward
from rlft.rewards.choice import MultipleChoice
from rlft.rewards.common import Scored
from rlft.rewards.extract import to_number
from rlft.rewards.math_answer import MathAnswer
from rlft.rewards.reasoning import ReasoningGym


@dataclass(kw_only=True)
class Verifier(Scored):
    """1 if the answer is right, else 0, judged as the question wants it.

    A question with options is judged by `MultipleChoice`, a reasoning-gym item whose answer is no number by the task's
    own scorer (`ReasoningGym`), every other by `MathAnswer`.

    Attributes:
        timeout: seconds for one completion, where a scorer or math-verify decides.
    """

    label: ClassVar[str] = "verifier"

    timeout: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.choice, self.math = MultipleChoice(), MathAnswer(timeout=self.timeout)
        self.task = ReasoningGym(timeout=self.timeout)

    def rate(self, query: Query, completions: tuple[Completion, ...]) -> list[Reward]:
        rewards = self._judge(query).rate(query, completions)
        return [replace(reward, parts={self.label: reward.value}) for reward in rewards]

    def close(self) -> None:
        self.math.close()
        self.task.close()

    def _judge(self, query: Query) -> Scored:
        if query.metadata.get("choices"):
            return self.choice
        if query.metadata.get("task") and to_number(query.answer or "") is None:
            return self.task
        return self.math

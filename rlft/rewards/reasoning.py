"""Whether a completion solves a reasoning-gym item."""

from dataclasses import dataclass
from typing import Any, ClassVar

from rlft.base import Completion, Query, Reward, UserError
from rlft.rewards.common import Isolated
from rlft.rewards.extract import extract_answer, tagged_answer, to_number
from rlft.rewards.worker import WorkerError


@dataclass(kw_only=True)
class ReasoningGym(Isolated):
    """1 if the task's own scorer gives the extracted answer at least `threshold`, else 0.

    The scorers give part of a point to an answer among other words ("The answer is 5" gets 0.067), so the answer is
    extracted first and the score is thresholded. Where the item's answer is a number, an equal one ("72.0" for "72") is
    handed to the scorer in the item's own spelling.

    Attributes:
        threshold: the least score, from 0 to 1, that counts as right.
    """

    label: ClassVar[str] = "reasoning_gym"
    program: ClassVar[str] = "gym.py:score"
    hint: ClassVar[str] = "It needs the extra `math`: pip install 'rlft[math]'"

    threshold: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.threshold <= 1:
            raise UserError(f"reward.threshold={self.threshold:g}: a score above 0 and at most 1 is needed")

    def rate(self, query: Query, completions: tuple[Completion, ...]) -> list[Reward]:
        task, entry = query.metadata.get("task"), query.metadata.get("entry")
        if not isinstance(task, str) or not isinstance(entry, dict):
            raise UserError(
                f"reward=reasoning_gym: query {query.id} is not from a reasoning-gym task; "
                "set data.task=chain_sum, or take reward=math_answer"
            )
        return [self._one(task, entry, completion.text) for completion in completions]

    def _one(self, task: str, entry: dict[str, Any], text: str) -> Reward:
        answer, spelled = read_answer(text, entry.get("answer"))
        try:
            score = self.worker.call(task, spelled, entry)
        except WorkerError as error:
            return Reward(0.0, {self.label: 0.0, "score": 0.0}, extracted=answer, error=str(error))
        assert isinstance(score, float)
        value = float(score >= self.threshold)
        return Reward(value, {self.label: value, "score": score}, extracted=answer)


def read_answer(text: str, gold: Any) -> tuple[str | None, str | None]:
    """Returns the answer in a text, and that answer as the item spells it.

    Where nothing marks it (<answer>, \\boxed, ####) it is the last number if the item's answer is a number, else the
    whole text.
    """
    number = to_number(gold) if isinstance(gold, str) else None
    if number is None:
        answer = tagged_answer(text) or text.strip() or None
        return answer, answer
    answer = extract_answer(text)
    return answer, gold if answer is not None and to_number(answer) == number else answer

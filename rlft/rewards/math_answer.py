"""Whether the final answer of a completion is the right one."""

import re
from dataclasses import dataclass
from typing import ClassVar

from rlft.base import Completion, Query, Reward, UserError
from rlft.rewards.common import Isolated
from rlft.rewards.extract import extract_answer, said_answer, spelled, tagged_answer, to_number
from rlft.rewards.worker import WorkerError

LATEX = re.compile(r"[\\^_{}]")


@dataclass(kw_only=True)
class MathAnswer(Isolated):
    """1 if the final answer equals `query.answer`, else `wrong`.

    The answer is extracted first (`extract_answer`). Numbers are compared exactly, without rounding. Only where one
    side is LaTeX that is no plain number does math-verify decide, in the worker process. A reference in words ("Paris",
    "yes") is compared by its spelling, with what the completion marks as its answer or else says (`said_answer`).

    Attributes:
        wrong: what another answer, or none, is worth; below 1. One that could not be judged is worth 0.
    """

    label: ClassVar[str] = "math_answer"
    program: ClassVar[str] = "latex.py:equal"
    hint: ClassVar[str] = "LaTeX answers need the extra `math`: pip install 'rlft[math]'"

    wrong: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.wrong < 1:
            raise UserError(f"reward.wrong={self.wrong:g}: a right answer is worth 1, expected a number below it")

    def rate(self, query: Query, completions: tuple[Completion, ...]) -> list[Reward]:
        if query.answer is None:
            raise UserError(
                f"reward=math_answer: query {query.id} has no reference answer; the data needs a column `answer`"
            )
        if query.metadata.get("choices"):
            raise UserError(
                f"math_answer: query {query.id} is multiple choice; type reward=multiple_choice, and where it is the "
                "verifier trainer.verifier._target_=rlft.rewards.Verifier"
            )
        gold = tagged_answer(query.answer) or query.answer.strip()
        return [self._one(gold, completion.text) for completion in completions]

    def _one(self, gold: str, text: str) -> Reward:
        if to_number(gold) is None and not LATEX.search(gold) and tagged_answer(text) is None:
            answer = said_answer(text)
            value = 1.0 if answer is not None and spelled(answer) == spelled(gold) else self.wrong
            return Reward(value, {self.label: value}, extracted=answer)
        answer = extract_answer(text)
        try:
            value = 1.0 if answer is not None and self._equal(gold, answer) else self.wrong
        except WorkerError as error:
            return Reward(0.0, {self.label: 0.0}, extracted=answer, error=str(error))
        return Reward(value, {self.label: value}, extracted=answer)

    def _equal(self, gold: str, answer: str) -> bool:
        expected, given = to_number(gold), to_number(answer)
        if expected is not None and given is not None:
            return expected == given
        if spelled(gold) == spelled(answer):
            return True
        # One side alone may be LaTeX for the same number: \sqrt{4} and 2.
        latex = any(number is None and LATEX.search(side) for number, side in ((expected, gold), (given, answer)))
        return latex and self.worker.call(gold, answer) == 1.0

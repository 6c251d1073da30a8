"""Recorded (q, o), for supervised fine-tuning."""

import re
from dataclasses import dataclass
from typing import ClassVar

from rlft.base import Context, Group, Query, UserError
from rlft.data.examples import Example
from rlft.data.source import Listed


@dataclass(kw_only=True)
class Recorded(Listed):
    """One recorded completion per query: the first row of the unified paradigm's table, SFT.

    Of a conversation the last assistant turn is trained. Of rows with preferences the preferred completion is.

    Attributes:
        completion: what is trained, with {answer} (the reference answer; GSM8K's number) or {solution} (the recorded
            text in full; GSM8K's steps with "#### 72") in it. The two differ only where the answer was read out of a
            longer text or has a column of its own.
    """

    kind: ClassVar[str] = "recorded"

    completion: str = "{answer}"

    def check(self, training: bool = True) -> None:
        """Checks the settings alone. Raises UserError."""
        super().check(training)
        if not re.search(r"\{(answer|solution)\}", self.completion):
            raise UserError(f"data.completion={self.completion!r}: expected {{answer}} or {{solution}} in it")

    def _prepare(self, context: Context, rows: list[tuple[Example, Query]]) -> None:
        self._groups = []
        without = long = 0
        for example, query in rows:
            if example.solution is None:
                without += 1
                continue
            known = {"answer": example.answer or example.solution, "solution": example.solution}
            text = re.sub(r"\{(answer|solution)\}", lambda match, known=known: known[match[1]], self.completion)
            completion = context.chat.completion(query.messages, text)
            if self._too_long(example, "max_completion_tokens", len(completion.token_ids)):
                long += 1
            else:
                self._groups.append(Group(query, (completion,)))
        if without:
            context.say(f"data: {without} rows dropped, they have no recorded answer to train on")
        if long:
            limit = self.max_completion_tokens
            context.say(f"data: {long} rows dropped, their completion is over data.max_completion_tokens={limit}")

"""A trained process reward model: a transformers token classifier that scores each step at its last token."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from rlft.base import Reading, RewardFunction, RunError
from rlft.rewards.classifier import Classifier, place
from rlft.rewards.math_answer import MathAnswer
from rlft.rewards.steps import Stepped, Steps


@dataclass(kw_only=True)
class ProcessModel(Stepped):
    """The score that a token classifier gives the conversation at the end of each step (Lightman et al., arXiv
    2305.20050; Math-Shepherd, arXiv 2312.08935).

    With two labels it is the probability of the second, "right" (as TRL's PRMTrainer trains them); with one it is the
    logit. The conversation is rendered by the classifier's own chat template, and a separator is put after the last
    step, since such a model was trained to judge there. The last step is the model's to judge like the others; the
    outcome stays the completion's value.

    Attributes:
        path: a local folder or a hub id; its tokenizer must be a fast one.
        batch_size: conversations scored at once.
        device: "auto" takes the accelerator there is; "cpu" does not.
    """

    label: ClassVar[str] = "process_model"

    path: str
    outcome: RewardFunction = field(default_factory=MathAnswer)
    batch_size: int = 16
    device: Literal["auto", "cpu"] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.classifier = Classifier(
            self.path, self.batch_size, self.device, ("token",), (1, 2), "process reward model"
        )

    def judge(self, answers: list[Steps]) -> list[list[float | None]]:
        if not answers:
            return []
        rows = [self._row(answer) for answer in answers]
        logits = self.classifier.logits([tokens for tokens, _ in rows])
        return [
            [self._score(row[place], answer) for place in places]
            for row, (_, places), answer in zip(logits, rows, answers, strict=True)
        ]

    def check(self) -> None:
        super().check()
        self.classifier.check()

    def readings(self) -> list[Reading]:
        return [*self.classifier.readings(), *self.outcome.readings()]

    def close(self) -> None:
        super().close()
        self.classifier.close()

    def _row(self, answer: Steps) -> tuple[list[int], list[int]]:
        """Returns the conversation's tokens, and the places of the steps' last ones among them."""
        text = answer.completion.text
        text += "" if text.endswith(self.separator) else self.separator
        rendered = self.classifier.render(answer.query, text)
        encoded = self.classifier.encode(answer.query, rendered)
        begin, end = place(rendered, text)
        begin -= text.find(rendered[begin:end])  # where it would begin, had nothing been stripped
        limits = [min(begin + each, end) for each in (*answer.ends[:-1], len(text))]
        return encoded["input_ids"], [_token_before(encoded, limit) for limit in limits]

    def _score(self, logits: Tensor, answer: Steps) -> float:
        value = float(logits[0] if len(logits) == 1 else torch.softmax(logits, 0)[1])
        if not math.isfinite(value):
            raise RunError(f"the process reward model {self.path} gives {value} for query {answer.query.id}")
        return value


def _token_before(encoded: Any, limit: int) -> int:
    """Returns the token that holds the last of so many characters; spaces at their end may belong to none."""
    return next(t for c in range(limit - 1, -1, -1) if (t := encoded.char_to_token(c)) is not None)

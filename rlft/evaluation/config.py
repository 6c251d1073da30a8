"""The words of `rlft eval` that are no recipe's."""

from dataclasses import dataclass
from typing import Literal

from rlft.base import Sampling, UserError


@dataclass(frozen=True)
class EvalConfig:
    """What is asked, beside the greedy answer to each question.

    Attributes:
        questions: at most so many, or "all"; null is the recipe's trainer.eval_size (and all of a file that is named on
            the command line).
        samples: answers drawn per question, for avg@n, maj@n and pass@k; 0 draws none.
        temperature, top_k, top_p, min_p: of those, as in `rlft.base.Sampling`.
    """

    questions: int | Literal["all"] | None = None
    samples: int = 0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        sound = {
            "questions": (self.questions in ("all", None) or int(self.questions) >= 1, "at least 1, or all"),
            "samples": (self.samples >= 0, "a whole number of at least 0 (0 draws none)"),
            "temperature": (self.temperature > 0, "a number above 0 (the greedy answer is asked for anyway)"),
            "top_k": (self.top_k >= 0, "a whole number of at least 0 (0 keeps all tokens)"),
            "top_p": (0 < self.top_p <= 1, "a number above 0 and at most 1 (1 keeps all tokens)"),
            "min_p": (0 <= self.min_p < 1, "a number from 0 to below 1 (0 keeps all tokens)"),
        }
        for key, (holds, expected) in sound.items():
            if not holds:
                raise UserError(f"eval.{key}={getattr(self, key)}: expected {expected}")

    def sampling(self, max_tokens: int) -> Sampling:
        """Returns how answers of at most so many tokens are drawn."""
        return Sampling(max_tokens, self.temperature, self.top_k, self.top_p, self.min_p)

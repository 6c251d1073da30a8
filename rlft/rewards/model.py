"""A trained reward model: a transformers classifier with one label, of conversations or of their tokens."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from rlft.base import Completion, Group, Query, Reading, Reward, RunError
from rlft.rewards.classifier import Classifier, place
from rlft.rewards.common import Scored


@dataclass(kw_only=True)
class RewardModel(Scored):
    """The score that a sequence classifier with one label gives the conversation, completion included; or the mean of
    those that a token classifier with one label gives the completion's tokens, its end of turn among them.

    The conversation is rendered by the classifier's own chat template. Only safetensors are read and no remote code is
    run.

    Attributes:
        path: a local folder or a hub id; of a reward model that rlft trained, RUN_DIR/adapter (or RUN_DIR/model).
        batch_size: conversations scored at once.
        device: "auto" takes the accelerator there is; "cpu" does not.
    """

    label: ClassVar[str] = "reward_model"

    path: str
    batch_size: int = 16
    device: Literal["auto", "cpu"] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.classifier = Classifier(
            self.path, self.batch_size, self.device, ("sequence", "token"), (1,), "reward model"
        )

    def check(self) -> None:
        self.classifier.check()

    def readings(self) -> list[Reading]:
        return self.classifier.readings()

    def rate(self, query: Query, completions: tuple[Completion, ...]) -> list[Reward]:
        return list(self.score([Group(query, completions)])[0].rewards)

    def score(self, groups: list[Group]) -> list[Group]:
        scores = iter(self._scores([(group.query, c) for group in groups for c in group.completions]))
        result = []
        for group in groups:
            values = [next(scores) for _ in group.completions]
            result.append(self.settle(group, [Reward(value, {self.label: value}) for value in values]))
        return result

    def close(self) -> None:
        self.classifier.close()

    def _scores(self, pairs: list[tuple[Query, Completion]]) -> list[float]:
        if not pairs:
            return []
        judge = self.classifier
        texts = [judge.render(query, c.text) for query, c in pairs]
        rows = [judge.encode(query, text) for (query, _), text in zip(pairs, texts, strict=True)]
        logits = judge.logits([row["input_ids"] for row in rows])
        if judge.of_tokens():
            spans = [
                _span(row, text, judge.opening(query), c)
                for row, text, (query, c) in zip(rows, texts, pairs, strict=True)
            ]
            scores = [float(each[span, 0].mean()) for each, span in zip(logits, spans, strict=True)]
        else:
            scores = [float(each[0]) for each in logits]
        for (query, _), value in zip(pairs, scores, strict=True):
            if not math.isfinite(value):
                raise RunError(f"the reward model {self.path} gives {value} for query {query.id}")
        return scores


def _span(encoded: Any, rendered: str, opening: str, completion: Completion) -> slice:
    """Returns the completion's tokens: those of its text, and the one behind it, which ends its turn, if it is
    finished or there is no other."""
    begin, end = place(rendered, completion.text, opening)
    tokens = [t for c in range(begin, end) if (t := encoded.char_to_token(c)) is not None]
    behind = next((t for c in range(end, len(rendered)) if (t := encoded.char_to_token(c)) is not None), None)
    if behind is not None and (completion.finished or not tokens):
        tokens.append(behind)
    return slice(min(tokens), max(tokens) + 1)

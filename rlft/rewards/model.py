"""A trained reward model: a transformers sequence classifier with one label."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from rlft.base import Completion, Group, Query, Reading, Reward, RunError
from rlft.rewards.classifier import Classifier
from rlft.rewards.common import Scored


@dataclass(kw_only=True)
class RewardModel(Scored):
    """The score that a sequence classifier with one label gives the conversation, completion included.

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
        self.classifier = Classifier(self.path, self.batch_size, self.device, "sequence", (1,), "reward model")

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
        rows = [judge.encode(query, judge.render(query, c.text))["input_ids"] for query, c in pairs]
        scores = [float(logits[0]) for logits in judge.logits(rows)]
        for (query, _), value in zip(pairs, scores, strict=True):
            if not math.isfinite(value):
                raise RunError(f"the reward model {self.path} gives {value} for query {query.id}")
        return scores

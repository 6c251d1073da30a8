"""What a run has cost so far."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from torch import Tensor

from rlft.base import READ_REFERENCE, Batch, Reading
from rlft.models.config import ModelConfig
from rlft.models.flops import Shape, Tokens, Way, sampling_flops, step_flops
from rlft.models.native.layout import opening_of
from rlft.models.sampler import ROWS


@dataclass
class Bill:
    """Running totals; they go into summary.json and into every checkpoint.

    FLOPs are counted by the closed formulas of `rlft.models.flops`, which `rlft cost` predicts by as well. Of models
    whose cache cannot be shared by a group they are those of one whose cache can.

    Attributes:
        generated_tokens, prefilled_tokens: sampled, and of the prompts that they were sampled from.
        trained_tokens, prompts, prompt_tokens: gone through in training; prompts once a batch.
        reference_rows: run through π_ref, those that it remembered apart.
        reward_calls: completions that a reward looked at.
        seconds: of the steps, and of what was sampled before the first one.
        flops_by_part: "rollout", "reward", the roles there are, "forward" and "backward".
        warm_start: the totals of the run whose adapter this one started from, which are in none of the others.

    Evaluations are in none of them.
    """

    generated_tokens: int = 0
    prefilled_tokens: int = 0
    trained_tokens: int = 0
    prompts: int = 0
    prompt_tokens: int = 0
    reference_rows: int = 0
    reward_calls: int = 0
    seconds: float = 0.0
    flops_by_part: dict[str, float] = field(default_factory=dict)
    warm_start: dict[str, float] = field(default_factory=dict)

    @property
    def flops(self) -> float:
        """Floating-point operations of all parts."""
        return sum(self.flops_by_part.values())

    def total(self, unit: str) -> float:
        """Returns what was spent of a unit, e.g. "flops", that of the warm start included."""
        return getattr(self, unit) + self.warm_start.get(unit, 0)

    def batch(
        self,
        batch: Batch,
        moved: Tensor,
        shape: Shape,
        ran: Mapping[str, Batch],
        epochs: int,
        way: Way,
    ) -> None:
        """Adds a batch's training: what the roles score once, and `epochs` passes forward and backward.

        Args:
            batch: the whole of it. moved: [B] bool, the rows that go through the policy; the others add nothing to the
                gradient.
            shape: of the model. ran: the rows that each role ran, by its name.
            epochs: passes over the batch. way: how they are taken.
        """
        trained = way.read(batch.rows(moved.nonzero().flatten()), learns=True)
        self.trained_tokens += int(batch.mask.sum()) * epochs
        self.prompts += int(batch.prompt_ids.shape[0])
        self.prompt_tokens += int(batch.prompt_mask.sum())
        self.reference_rows += sum(len(rows) for role, rows in ran.items() if role in READ_REFERENCE)
        scored = {role: way.read(rows) for role, rows in ran.items()}
        learnt = way.read(batch, learns=True)
        self._add(step_flops(shape, scored, trained, epochs, way.recompute, learnt, way.teacher))

    def sampling(self, generated: int, prefilled: int, batch: Batch, shape: Shape, way: Way) -> None:
        """Brings the sampled tokens and their prompts' up to totals and adds the FLOPs of what is new. New completions
        are taken to be as long as those of the batch, which they are where they are its own."""
        tokens, prompts = generated - self.generated_tokens, prefilled - self.prefilled_tokens
        if tokens:
            share = tokens / int(batch.attention.sum())
            rows = share * len(batch)
            new = Tokens(prompts + tokens - rows, Tokens.of(batch).keys * share, tokens)
            if way.opens:
                drawn = prompts * len(batch.prompt_ids) / int(batch.prompt_mask.sum())
                new += way.saved(opening_of(batch), drawn, ceil(rows / ROWS))
            self._add({"rollout": sampling_flops(shape, new, merges=1)})
        self.generated_tokens, self.prefilled_tokens = generated, prefilled

    def judging(self, calls: int, flops: float) -> None:
        """Adds completions that were judged, and the FLOPs of the models that did."""
        self.reward_calls += calls
        if flops:
            self._add({"reward": flops})

    def _add(self, parts: Mapping[str, float]) -> None:
        for name, flops in parts.items():
            self.flops_by_part[name] = self.flops_by_part.get(name, 0.0) + flops

    def as_dict(self) -> dict[str, Any]:
        """Returns the totals under the names of summary.json."""
        return {**asdict(self), "flops": self.flops}

    @classmethod
    def of(cls, totals: Mapping[str, Any]) -> "Bill":
        """Returns the bill that `as_dict` was taken of."""
        return cls(**{name: value for name, value in totals.items() if name != "flops"})


def reading_flops(readings: Sequence[Reading]) -> float:
    """Returns the FLOPs of what reward models have read."""
    return sum(Shape.of(r.model).forward(Tokens(r.positions, r.keys, r.scored), adapter=False) for r in readings)


def spent_before(model: ModelConfig) -> dict[str, float]:
    """Returns the totals of the run that the adapter or the weights to start from came out of, that run's own warm
    start among them; nothing where they lie in no run directory."""
    start = model.adapter_path or model.path
    summary = Path(start).resolve().parent / "summary.json" if start else None
    if summary is None or not summary.is_file():
        return {}
    totals = json.loads(summary.read_text(encoding="utf-8")).get("totals", {})
    before = totals.pop("warm_start", {})
    own = {name: value for name, value in totals.items() if isinstance(value, int | float)}
    return {name: own.get(name, 0) + before.get(name, 0) for name in own | before}

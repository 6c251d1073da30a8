"""What a run has cost so far."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from torch import Tensor

from rlft.base import Batch
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
        reward_calls, flops, seconds: as they say; evaluations are in none of them.
    """

    generated_tokens: int = 0
    prefilled_tokens: int = 0
    trained_tokens: int = 0
    prompts: int = 0
    prompt_tokens: int = 0
    reference_rows: int = 0
    reward_calls: int = 0
    flops: float = 0.0
    seconds: float = 0.0

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
        self.reference_rows += len(ran["reference"]) if "reference" in ran else 0
        self.reward_calls += len(batch)
        scored = {role: way.read(rows) for role, rows in ran.items()}
        learnt = way.read(batch, learns=True)
        self.flops += sum(step_flops(shape, scored, trained, epochs, way.recompute, learnt).values())

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
            self.flops += sampling_flops(shape, new, merges=1)
        self.generated_tokens, self.prefilled_tokens = generated, prefilled

    def as_dict(self) -> dict[str, Any]:
        """Returns the totals under the names of summary.json."""
        return asdict(self)

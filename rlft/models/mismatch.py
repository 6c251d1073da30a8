"""What corrects the gradient for completions that another engine drew than the one that is trained."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from rlft import ops
from rlft.base import Batch, RunError


@dataclass(frozen=True)
class Mismatch:
    """Weighs each token by how much more likely the trained policy was to draw it than the sampler μ that did.

    The weight multiplies w·GC, the KL term's part included: Σ w·GC·∇log π is an expectation over what μ drew. The
    normaliser stays what it was. Where a batch gets several optimiser steps the weight is that of π_old in all of them:
    how far π_θ has gone since is the ratio's affair (Yao et al. 2025).

    Attributes:
        kind: "truncated" is min(π_old/μ, C); "masked" is π_old/μ inside [1/C, C] and 0 outside.
        cap: C.
    """

    kind: Literal["truncated", "masked"]
    cap: float

    def weigh(self, batch: Batch, logp: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the weight [B, T] of every token, 1 where the mask is not, and where it was cut (bool [B, T]).

        Args:
            batch: with `logp_sampled`, at temperature 1; π_old is `logp_old`, or where that is None π_θ itself.
            logp: log π_θ [B, T], nats, detached.

        Raises:
            RunError: the data source gave no log-probabilities of the sampler.
        """
        if batch.logp_sampled is None:
            raise RunError("rollout.mismatch weighs tokens by the sampler's log-probabilities, and the batch has none")
        old = logp if batch.logp_old is None else batch.logp_old
        log_ratio = ops.masked(old - batch.logp_sampled, batch.mask)
        cut = ops.truncated_mismatch if self.kind == "truncated" else ops.masked_mismatch
        weight = cut(log_ratio, self.cap)
        return weight, weight != log_ratio.exp()

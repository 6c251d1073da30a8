"""Distillation: every token is pulled by how much likelier a teacher finds it than the policy does."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from rlft import ops
from rlft.algorithms import log_ratio as log_ratios
from rlft.algorithms.checks import annotated
from rlft.algorithms.reduction import Reduction, TokenMean
from rlft.base import Algorithm, Batch


@dataclass(frozen=True)
class Distill(Algorithm):
    """GC = log(π_teacher/π), the gradient of -½ log²(π/π_teacher) of each token.

    On samples of π it follows the reverse KL(π ‖ π_teacher): E[GC·∇log π] = -∇KL in every state, the states that are
    visited held fixed, as GKD (arXiv 2306.13649) holds them. What a token does to the states after it, which MiniLLM
    (arXiv 2306.08543) counts, is left out. Of tokens that π did not draw it follows no KL. Rewards are not read.

    Attributes:
        off_policy: multiply by ρ, for batches that several optimiser steps go over.
        reduction: the weight of tokens.

    >>> import torch
    >>> from rlft.testing import make_batch
    >>> batch = make_batch(queries=1, samples=2, length=1, holes=False)
    >>> batch = batch.replace(logp_teacher=torch.tensor([[0.5], [0.2]], dtype=torch.float64).log())
    >>> Distill().coefficient(batch, torch.tensor([[0.25], [0.4]], dtype=torch.float64).log())  # ±log 2
    tensor([[ 0.6931],
            [-0.6931]], dtype=torch.float64)
    """

    off_policy: bool = False
    # The part is called as Algorithm's method is.
    reduction: Reduction = TokenMean()  # noqa: RUF009  # pyright: ignore[reportIncompatibleMethodOverride]

    @property
    def needs(self) -> frozenset[str]:
        """See Algorithm."""
        return frozenset({"teacher"})

    @property
    def formula(self) -> str:
        """See Algorithm."""
        return f"GC = {'ρ·' if self.off_policy else ''}log(π_teacher/π), w = {self.reduction.formula}"

    def coefficient(self, batch: Batch, logp: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """Returns log(π_teacher/π) [B, T], times ρ if off_policy; ρ is exactly 1 where `logp_old` is None."""
        log_ratio_teacher = ops.masked(logp - annotated(batch.logp_teacher, "logp_teacher"), batch.mask)
        pull = ops.k2_coefficient(log_ratio_teacher)
        return ops.token_ratio(log_ratios.to_old(batch, logp)) * pull if self.off_policy else pull

    def objective(self, batch: Batch, logp: Float[Tensor, "B T"]) -> Float[Tensor, ""]:
        """Returns -Σ w·½ log²(π/π_teacher), each token times sg(ρ) if off_policy."""
        distance = ops.masked(logp - annotated(batch.logp_teacher, "logp_teacher"), batch.mask)
        weight = annotated(batch.weight, "weight")
        if self.off_policy:
            weight = weight * ops.token_ratio(log_ratios.to_old(batch, logp.detach()))
        return -(weight * ops.k2(distance)).sum()

"""What a method multiplies ∇log π of every token by, and what that is made of."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlft.base import Algorithm, Batch


@dataclass(frozen=True)
class Coefficients:
    """A method on one batch; every tensor is [B, T].

    Attributes:
        gc: the coefficient. weight: what the reduction gives the token.
        terms: what the coefficient is the sum of, by formula. factors: what they are made of, by symbol.
    """

    gc: Tensor
    weight: Tensor
    terms: dict[str, Tensor]
    factors: dict[str, Tensor]


@torch.no_grad()
def coefficients(algorithm: Algorithm, batch: Batch, logp: Tensor) -> Coefficients:
    """Returns the coefficients of an annotated and prepared batch at log π_θ [B, T], nats."""
    weight = algorithm.reduction(batch.mask, batch.group).to(logp.dtype)
    batch = batch.replace(weight=weight)
    factors = algorithm.factors(batch, logp)
    return Coefficients(
        gc=algorithm.coefficient(batch, logp),
        weight=weight,
        terms=algorithm.terms(batch, logp),
        factors={symbol: values.expand(batch.mask.shape) for symbol, values in factors.items()},
    )

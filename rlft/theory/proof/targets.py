"""What the expectation of an estimator should be, worked out from the binomial distribution of right answers."""

from collections.abc import Callable
from dataclasses import replace
from math import comb, sqrt
from typing import Any

import torch
from torch import Tensor

from rlft.algorithms import (
    CISPO,
    SAPO,
    Advantage,
    ConstantLength,
    Distill,
    GroupCentred,
    GroupNormalised,
    LeaveOneOut,
    MeanRatio,
    NoSurrogate,
    PolicyGradient,
    PPOClip,
    RewardAdvantage,
    SequenceMean,
    SequenceSum,
    Sum,
    Tapered,
    TokenMean,
    WeightedLikelihood,
)
from rlft.base import Algorithm
from rlft.theory.proof.enumerable import TEACHER, Enumerable, mask_of_all


def _normalised(part: GroupNormalised, r: float, mean: float, size: int) -> float:
    std = {"none": 1.0}.get(part.scale, sqrt(size / max(1, size - 1) * mean * (1 - mean)) + part.delta)
    return (r - mean) / std


ADVANTAGES: dict[type, Callable[[Any, float, float, int], float]] = {
    RewardAdvantage: lambda part, r, mean, size: r,
    GroupNormalised: _normalised,
    GroupCentred: lambda part, r, mean, size: r - mean,
    LeaveOneOut: lambda part, r, mean, size: r - (size * mean - r) / (size - 1),
    MeanRatio: lambda part, r, mean, size: (r - mean) / mean if mean else 0.0,
}
"""Â of one completion from its reward, 0 or 1, the mean of its group and the group's size."""
LENGTHS: dict[type, Callable[[Any, Tensor, int], Tensor]] = {
    Sum: lambda part, length, size: torch.full_like(length, size),
    SequenceSum: lambda part, length, size: torch.ones_like(length),
    SequenceMean: lambda part, length, size: 1 / length,
    ConstantLength: lambda part, length, size: torch.full_like(length, 1 / part.length),
}
"""What a group's weight for all completions of some length comes to."""


SURROGATES = {NoSurrogate, PPOClip, CISPO, SAPO, Tapered}
"""What is Â at ρ = 1."""


def in_closed_form(algorithm: Algorithm) -> Algorithm:
    """Returns what is enumerated of a method: of a policy gradient its part at β = 0 and α = 0; of a distillation whose
    tokens are counted over the batch its sum, w = m; others as they are."""
    if type(algorithm) is PolicyGradient:
        return replace(algorithm, beta=0.0, entropy=0.0)
    if type(algorithm) is Distill and type(algorithm.reduction) is TokenMean:
        return replace(algorithm, reduction=Sum())
    return algorithm


def target(algorithm: Algorithm, model: Enumerable, samples: int) -> Tensor | None:
    """Returns E[c(|o|)·f(r)·∇log π(o)], what the update should be on average at β = 0, α = 0 and ρ = 1, or None where
    completions do not enter one by one (tokens that are counted over the batch, pairs, critics).

    f is `worths`, at p = E[r]. A distillation goes down the reverse KL to its teacher in every state, by how often that
    is visited, where c is the same for all lengths.
    """
    if type(algorithm) is Distill:
        weigh = LENGTHS.get(type(algorithm.reduction))
        c = weigh(algorithm.reduction, mask_of_all().sum(1).double(), samples) if weigh else torch.arange(2.0)
        return -c[0] * model.away_from(Enumerable.draw(TEACHER)) if bool((c == c[0]).all()) else None
    # Exactly these classes: a coefficient of someone's own has another target.
    if type(algorithm) is PolicyGradient and type(algorithm.surrogate) in SURROGATES:
        advantage = algorithm.advantage
    elif type(algorithm) is WeightedLikelihood:
        advantage = RewardAdvantage()
    else:
        return None
    weigh = LENGTHS.get(type(algorithm.reduction))
    if weigh is None or type(advantage) not in ADVANTAGES:
        return None
    f = worths(advantage, float(model.probability @ model.reward), samples)
    length = mask_of_all().sum(1).double()
    value = torch.tensor([f[float(r)] for r in model.reward], dtype=torch.float64)
    return model.gradient(weigh(algorithm.reduction, length, samples) * value)


def worths(advantage: Advantage, p: float, samples: int) -> dict[float, float]:
    """Returns f(r) for r = 0 and 1, the mean advantage of an answer whose reward is r in a group of G samples of which
    each is right with probability p. The others are right independently of it: f(r) = Σ_k Binomial(k; G-1, p)·Â(r, k).

    As Σ_o π(o)·f(r)·∇log π(o) = (f(1) - f(0))·∇p, a method climbs the function of p whose slope is f(1) - f(0).

    >>> {r: round(f, 9) for r, f in worths(GroupCentred(), 0.3, 4).items()}  # (G-1)/G between them
    {0.0: -0.225, 1.0: 0.525}
    """
    worth = ADVANTAGES[type(advantage)]
    chance = [comb(samples - 1, k) * p**k * (1 - p) ** (samples - 1 - k) for k in range(samples)]
    return {
        r: sum(c * worth(advantage, r, (k + r) / samples, samples) for k, c in enumerate(chance)) for r in (0.0, 1.0)
    }

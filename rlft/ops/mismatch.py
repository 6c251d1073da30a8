"""Importance weights for tokens that another engine drew than the one that is trained, though of the same weights."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def truncated_mismatch(log_ratio: Float[Tensor, "*shape"], cap: float) -> Float[Tensor, "*shape"]:
    """Returns min(π/μ, C), truncated importance sampling (Yao et al. 2025, "Your Efficient RL Framework Secretly Brings
    You Off-Policy RL Training").

    Args:
        log_ratio: log π - log μ in nats, π the trained policy before the batch's first step, μ the sampler.
        cap: C, at least 1.

    >>> truncated_mismatch(torch.tensor([0.25, 1.5, 8.0]).log(), cap=2.0)
    tensor([0.2500, 1.5000, 2.0000])
    """
    return log_ratio.exp().clamp(max=cap)


def masked_mismatch(log_ratio: Float[Tensor, "*shape"], cap: float) -> Float[Tensor, "*shape"]:
    """Returns π/μ where it lies in [1/C, C] and 0 elsewhere: tokens on which the engines disagree are dropped (IcePop;
    arXiv 2510.18855, and Eq. 1 of arXiv 2512.16144, with α = 1/C and β = C).

    Args:
        log_ratio: as in `truncated_mismatch`.
        cap: C, at least 1.

    >>> masked_mismatch(torch.tensor([0.25, 0.75, 1.5, 8.0]).log(), cap=2.0)
    tensor([0.0000, 0.7500, 1.5000, 0.0000])
    """
    return torch.where(log_ratio.abs() <= math.log(cap), log_ratio.exp(), 0.0)

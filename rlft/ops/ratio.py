"""Importance ratios π_θ/π_old, of tokens and of whole completions, and where clipping lets the gradient through."""

from jaxtyping import Bool, Float
from torch import Tensor

from rlft.ops.masking import row_mean, row_sum


def token_ratio(log_ratio: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Returns ρ_t = π_θ(o_t)/π_old(o_t) [B, T] from its logarithm, nats (Schulman et al., arXiv 1707.06347, Eq. 6).

    >>> import torch
    >>> token_ratio(torch.tensor([[0.0, 2.0]]).log1p())
    tensor([[1., 3.]])
    """
    return log_ratio.exp()


def sequence_ratio(log_ratio: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, " B"]:
    """Returns s = Π_t ρ_t over trained tokens [B], the ratio of whole completions (Ahmadian et al., arXiv 2402.14740).

    >>> import torch
    >>> sequence_ratio(torch.tensor([[2.0, 3.0, 5.0]]).log(), torch.tensor([[True, True, False]]))
    tensor([6.])
    """
    return row_sum(log_ratio, mask).exp()


def geometric_ratio(log_ratio: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, " B"]:
    """Returns s = (Π_t ρ_t)^(1/|o|) over trained tokens [B] (GSPO, Zheng et al., arXiv 2507.18071, Eq. 7).

    >>> import torch
    >>> geometric_ratio(torch.tensor([[2.0, 8.0, 5.0]]).log(), torch.tensor([[True, True, False]]))
    tensor([4.])
    """
    return row_mean(log_ratio, mask).exp()


def live(
    ratio: Float[Tensor, "..."], advantage: Float[Tensor, "..."], eps_low: float, eps_high: float
) -> Bool[Tensor, "..."]:
    """Returns 1[not(Â>0 ∧ s>1+ε_high) ∧ not(Â<0 ∧ s<1-ε_low)]: where min(sÂ, clip(s)Â) follows s.

    The derivative of PPO's clipped objective (arXiv 1707.06347, Eq. 7) is Â·s·live(s). `ratio` and `advantage` have one
    shape, [B, T] or [B].

    >>> import torch
    >>> live(torch.tensor([1.3, 1.3, 0.7, 0.7]), torch.tensor([1.0, -1.0, 1.0, -1.0]), 0.2, 0.2)
    tensor([False,  True,  True, False])
    """
    too_high = (advantage > 0) & (ratio > 1 + eps_high)
    too_low = (advantage < 0) & (ratio < 1 - eps_low)
    return ~(too_high | too_low)

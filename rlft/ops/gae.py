"""Generalised advantage estimation over the trained tokens of a completion."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlft.ops.masking import masked


def gae(
    reward: Float[Tensor, "B T"], value: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], gamma: float, lam: float
) -> Float[Tensor, "B T"]:
    """Returns Â_t = Σ_k (γλ)^k δ_{t+k} with δ_t = r_t + γ V_{t+1} - V_t (Schulman et al., arXiv 1506.02438, Eq. 16).

    t+1 is the next *trained* token: those between (a tool's output, say) cost no discount. V after the last is 0.

    Args:
        reward: [B, T], per token. value: [B, T], V of the state before each token. mask: [B, T], trained tokens.
        gamma: discount per trained token, in [0, 1]. lam: λ, in [0, 1].

    Returns:
        [B, T], 0 where the mask is.

    >>> r, v, m = torch.tensor([[0.0, 9.0, 1.0]]), torch.tensor([[0.5, 9.0, 0.25]]), torch.tensor([[True, False, True]])
    >>> gae(r, v, m, gamma=1.0, lam=0.5)  # δ = [0 + 0.25 - 0.5, -, 1 - 0.25]
    tensor([[0.1250, 0.0000, 0.7500]])
    """
    advantage = torch.zeros_like(value)
    ahead = torch.zeros_like(value[:, 0])
    next_value = torch.zeros_like(ahead)
    for t in range(value.shape[1] - 1, -1, -1):
        delta = reward[:, t] + gamma * next_value - value[:, t]
        here = mask[:, t]
        ahead = torch.where(here, delta + gamma * lam * ahead, ahead)
        next_value = torch.where(here, value[:, t], next_value)
        advantage[:, t] = ahead
    return masked(advantage, mask)

"""Sums, means and whitening over trained tokens. What stands under the mask is never read, not even a NaN."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def masked(x: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Returns x [B, T] where the mask [B, T] is True and 0 elsewhere.

    >>> masked(torch.tensor([[1.0, float("nan")]]), torch.tensor([[True, False]]))
    tensor([[1., 0.]])
    """
    return torch.where(mask, x, torch.zeros((), dtype=x.dtype, device=x.device))


def lengths(mask: Bool[Tensor, "B T"]) -> Float[Tensor, " B"]:
    """Returns |o_i| = Σ_t m_{i,t} [B], tokens, at least 1 so that it can be divided by.

    >>> lengths(torch.tensor([[True, False, True], [False, False, False]]))
    tensor([2., 1.])
    """
    return mask.sum(1).clamp(min=1).to(torch.get_default_dtype())


def row_sum(x: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, " B"]:
    """Returns Σ_t m x [B].

    >>> row_sum(torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[True, False, True]]))
    tensor([5.])
    """
    return masked(x, mask).sum(1)


def row_mean(x: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, " B"]:
    """Returns Σ_t m x / |o| [B]; 0 for a row without a trained token.

    >>> row_mean(torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[True, False, True]]))
    tensor([2.5000])
    """
    return row_sum(x, mask) / lengths(mask).to(x.dtype)


def masked_mean(x: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Returns Σ m x / Σ m over all rows; 0 if nothing is trained.

    >>> masked_mean(torch.tensor([[1.0, 2.0], [4.0, 7.0]]), torch.tensor([[True, False], [True, True]]))
    tensor(4.)
    """
    return masked(x, mask).sum() / mask.sum().clamp(min=1)


def whiten(x: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], epsilon: float = 1e-8) -> Float[Tensor, "B T"]:
    """Returns (x - mean) / sqrt(var + ε) over all trained tokens, 0 elsewhere; var has Bessel's correction.

    As for the advantages of PPO in RLHF (Ziegler et al., arXiv 1909.08593, in their code).

    >>> whiten(torch.tensor([[1.0, 3.0, 9.0]]), torch.tensor([[True, True, False]]))
    tensor([[-0.7071,  0.7071,  0.0000]])
    """
    centred = masked(x - masked_mean(x, mask), mask)
    variance = centred.square().sum() / (mask.sum() - 1).clamp(min=1)
    return centred / (variance + epsilon).sqrt()


def last(mask: Bool[Tensor, "B T"]) -> Bool[Tensor, "B T"]:
    """Returns [B, T], True at each row's last trained token.

    >>> last(torch.tensor([[True, True, False], [False, False, False]]))
    tensor([[False,  True, False],
            [False, False, False]])
    """
    after = mask.flip(1).cumsum(1).flip(1)
    return mask & (after == 1)

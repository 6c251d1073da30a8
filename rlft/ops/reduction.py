"""Weights of trained tokens in the update: m = mask [B, T], |o| = trained tokens of a row, B = completions."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlft.ops.masking import lengths

Mask = Bool[Tensor, "B T"]
Weight = Float[Tensor, "B T"]


def total(mask: Mask) -> Weight:
    """Returns m [B, T]: the plain sum over tokens and completions.

    >>> total(torch.tensor([[True, False]]))
    tensor([[1., 0.]])
    """
    return mask.to(torch.get_default_dtype())


def sequence_sum(mask: Mask) -> Weight:
    """Returns m/B [B, T]: the mean over completions of their sums (RLOO, arXiv 2402.14740).

    >>> sequence_sum(torch.tensor([[True, True], [True, False]]))
    tensor([[0.5000, 0.5000],
            [0.5000, 0.0000]])
    """
    return total(mask) / max(1, len(mask))


def sequence_mean(mask: Mask) -> Weight:
    """Returns m/(|o|·B) [B, T]: the mean over completions of their means (GRPO, arXiv 2402.03300, Eq. 3).

    >>> sequence_mean(torch.tensor([[True, True], [True, False]]))
    tensor([[0.2500, 0.2500],
            [0.5000, 0.0000]])
    """
    return sequence_sum(mask) / lengths(mask)[:, None]


def token_mean(mask: Mask) -> Weight:
    """Returns m/Σm [B, T]: every trained token of the mini-batch counts alike (DAPO, arXiv 2503.14476, Eq. 8).

    >>> token_mean(torch.tensor([[True, True], [True, True]]))
    tensor([[0.2500, 0.2500],
            [0.2500, 0.2500]])
    """
    return total(mask) / mask.sum().clamp(min=1)


def constant_length(mask: Mask, length: int) -> Weight:
    """Returns m/(L·B) [B, T]: sums over a fixed length L, tokens (Dr. GRPO, arXiv 2503.20783, section 3.2).

    >>> constant_length(torch.tensor([[True, False], [True, True]]), 4)
    tensor([[0.1250, 0.0000],
            [0.1250, 0.1250]])
    """
    return sequence_sum(mask) / length

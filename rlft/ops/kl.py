"""Estimators of KL(π_θ ‖ π_ref) from one sampled token, and what each adds to the coefficient when it is a penalty.

All take x = log π_θ - log π_ref, nats, of any shape (http://joschu.net/blog/kl-approx.html)."""

import torch
from jaxtyping import Float
from torch import Tensor

Values = Float[Tensor, "..."]


def k1(log_ratio_ref: Values) -> Values:
    """Returns x: unbiased, of either sign. As a penalty it goes into the token reward, for its own derivative is 1.

    >>> k1(torch.tensor([-0.5]))
    tensor([-0.5000])
    """
    return log_ratio_ref


def full_kl(logits: Float[Tensor, "N V"], other: Float[Tensor, "N V"]) -> Float[Tensor, " N"]:
    """Returns KL(p ‖ q) [N], nats, of the distributions that two rows of logits stand for; float32 at least.

    >>> full_kl(torch.tensor([[1.0, 1.0]]).log(), torch.tensor([[1.0, 3.0]]).log())  # ½ log(½/¼) + ½ log(½/¾)
    tensor([0.1438])
    """
    wide = torch.promote_types(logits.dtype, torch.float32)
    p, q = logits.to(wide).log_softmax(-1), other.to(wide).log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def k2(log_ratio_ref: Values) -> Values:
    """Returns x²/2.

    >>> k2(torch.tensor([-0.5]))
    tensor([0.1250])
    """
    return log_ratio_ref.square() / 2


def k3(log_ratio_ref: Values) -> Values:
    """Returns e^{-x} - 1 + x: unbiased and never negative (DeepSeekMath, arXiv 2402.03300, Eq. 4).

    >>> k3(torch.tensor([0.5]).log())
    tensor([0.3069])
    """
    return torch.expm1(-log_ratio_ref) + log_ratio_ref


def k2_coefficient(log_ratio_ref: Values) -> Values:
    """Returns -x, the derivative of -k2 in log π_θ: the gradient of the reverse KL in expectation over π_θ's tokens.

    >>> k2_coefficient(torch.tensor([-0.5]))
    tensor([0.5000])
    """
    return -log_ratio_ref


def k3_coefficient(log_ratio_ref: Values) -> Values:
    """Returns π_ref/π_θ - 1 = e^{-x} - 1, the derivative of -k3 in log π_θ (arXiv 2402.03300, Eq. 21).

    In expectation it follows the forward KL(π_ref ‖ π_θ). It is not clamped: a clamp would zero the pull where the
    drift is worst.

    >>> k3_coefficient(torch.tensor([0.5]).log())
    tensor([1.])
    """
    return torch.expm1(-log_ratio_ref)

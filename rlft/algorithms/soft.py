"""Surrogates that weigh a token down where PPO's would drop it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rlft import ops
from rlft.algorithms.checks import check_number
from rlft.algorithms.surrogate import Mask, Surrogate, Tokens


@dataclass(frozen=True)
class CISPO(Surrogate):
    """Â·clip(ρ, 1-ε_low, 1+ε_high), the gradient of sg(clip(ρ))·Â·log π (CISPO, arXiv 2506.13585).

    No token is dropped: the clip bounds its weight; with ε_low = 1 only from above, as in the paper.

    Attributes:
        eps_low, eps_high: ε below and above 1.

    >>> advantage, mask = torch.tensor([[2.0, 2.0]]), torch.tensor([[True, True]])
    >>> CISPO(eps_low=1.0, eps_high=0.5).coefficient(advantage, torch.tensor([[0.1, 3.0]]).log(), mask)
    tensor([[0.2000, 3.0000]])
    """

    eps_low: float
    eps_high: float

    def __post_init__(self) -> None:
        check_number("surrogate.eps_low", self.eps_low, 0)
        check_number("surrogate.eps_high", self.eps_high, 0)

    @property
    def formula(self) -> str:
        """See Surrogate."""
        return "Â·clip(ρ, 1-ε_low, 1+ε_high)"

    @property
    def clip_range(self) -> tuple[float, float] | None:
        """See Surrogate."""
        return (1 - self.eps_low, 1 + self.eps_high)

    @property
    def vanishes_with_advantage(self) -> bool:
        """See Surrogate."""
        return True

    def coefficient(self, advantage: Tokens, log_ratio: Tokens, mask: Mask) -> Tokens:
        """Returns Â·clip(ρ) [B, T]."""
        return advantage * ops.token_ratio(log_ratio).clamp(1 - self.eps_low, 1 + self.eps_high)

    def objective(self, advantage: Tokens, log_ratio: Tokens, mask: Mask, weight: Tokens) -> Float[Tensor, ""]:
        """Returns Σ w·sg(clip(ρ))·Â·log ρ."""
        bounded = log_ratio.detach().exp().clamp(1 - self.eps_low, 1 + self.eps_high)
        return (weight * bounded * advantage * log_ratio)[mask].sum()


@dataclass(frozen=True)
class SAPO(Surrogate):
    """4·Â·ρ·σ(τ(ρ-1))·(1-σ(τ(ρ-1))), the gradient of (4/τ)·σ(τ(ρ-1))·Â (SAPO, arXiv 2511.20347).

    A soft gate instead of a clip: 1 at ρ = 1, fading on both sides.

    Attributes:
        tau_positive, tau_negative: τ where Â > 0, and elsewhere; the greater, the narrower the gate; above 0.

    >>> one = torch.ones(1, 1)
    >>> SAPO(tau_positive=1.0, tau_negative=1.05).coefficient(2 * one, 0 * one, one > 0)  # ρ = 1
    tensor([[2.]])
    """

    tau_positive: float
    tau_negative: float

    def __post_init__(self) -> None:
        check_number("surrogate.tau_positive", self.tau_positive, 0, above=True)
        check_number("surrogate.tau_negative", self.tau_negative, 0, above=True)

    @property
    def formula(self) -> str:
        """See Surrogate."""
        return "4Â·ρ·σ(τ(ρ-1))·(1-σ(τ(ρ-1)))"

    @property
    def vanishes_with_advantage(self) -> bool:
        """See Surrogate."""
        return True

    def coefficient(self, advantage: Tokens, log_ratio: Tokens, mask: Mask) -> Tokens:
        """Returns 4Âρσ(1-σ) [B, T]."""
        ratio = ops.token_ratio(log_ratio)
        gate = torch.sigmoid(self._tau(advantage) * (ratio - 1))
        return 4 * advantage * ratio * gate * (1 - gate)

    def objective(self, advantage: Tokens, log_ratio: Tokens, mask: Mask, weight: Tokens) -> Float[Tensor, ""]:
        """Returns Σ w·(4/τ)·σ(τ(ρ-1))·Â."""
        tau = self._tau(advantage)
        return (weight * advantage * (4 / tau) * torch.sigmoid(tau * (log_ratio.exp() - 1)))[mask].sum()

    def _tau(self, advantage: Tokens) -> Tokens:
        taus = advantage.new_tensor([self.tau_negative, self.tau_positive])
        return taus[(advantage > 0).long()]


@dataclass(frozen=True)
class Tapered(Surrogate):
    """Â where Â > 0, and Â·min(Π_t ρ_t, 1) elsewhere (TOPR, arXiv 2503.14286).

    What was good is imitated whatever the ratio; what was bad is pushed away only as far as the policy would still say
    it. Π_t ρ_t is over the trained tokens of the completion, and carries no gradient.

    >>> advantage, log_ratio = torch.tensor([[1.0], [-1.0], [-1.0]]), torch.tensor([[0.5], [0.5], [4.0]]).log()
    >>> Tapered().coefficient(advantage, log_ratio, advantage.abs() > 0)
    tensor([[ 1.0000],
            [-0.5000],
            [-1.0000]])
    """

    @property
    def formula(self) -> str:
        """See Surrogate."""
        return "(Â if Â > 0 else Â·min(s, 1))"

    @property
    def where(self) -> str:
        """See Surrogate."""
        return "s = Π_t ρ_t"

    @property
    def whole_rows(self) -> bool:
        """See Surrogate."""
        return True

    @property
    def vanishes_with_advantage(self) -> bool:
        """See Surrogate."""
        return True

    def coefficient(self, advantage: Tokens, log_ratio: Tokens, mask: Mask) -> Tokens:
        """Returns Â or Â·min(s, 1) [B, T]."""
        taper = ops.sequence_ratio(log_ratio, mask)[:, None].clamp(max=1)
        return torch.where(advantage > 0, advantage, taper * advantage)

    def objective(self, advantage: Tokens, log_ratio: Tokens, mask: Mask, weight: Tokens) -> Float[Tensor, ""]:
        """Returns Σ w·Â·log π where Â > 0 and Σ w·sg(min(s, 1))·Â·log π elsewhere, less what π_θ has no part in."""
        taper = torch.stack([row[kept].sum().exp() for row, kept in zip(log_ratio.detach(), mask, strict=True)])
        bad = torch.minimum(taper, torch.ones_like(taper))[:, None] * advantage.clamp(max=0)
        return (weight * (advantage.clamp(min=0) + bad) * log_ratio)[mask].sum()

"""The part that corrects for samples drawn from π_old, and bounds how far one batch may move the policy."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlft import ops
from rlft.algorithms.checks import check_choice, check_number

Mask = Bool[Tensor, "B T"]
Tokens = Float[Tensor, "B T"]


class Surrogate(ABC):
    """Turns advantages and ratios into a coefficient. Subclasses are frozen dataclasses.

    Everything is [B, T]: `advantage` Â, `log_ratio` log ρ = log π_θ - log π_old (nats, 0 where the mask is and where
    π_old is π_θ itself), `mask`.
    """

    @property
    @abstractmethod
    def formula(self) -> str:
        """The term as text, e.g. "Â·ρ·live(ρ)"."""

    @property
    def where(self) -> str:
        """What the formula's symbols mean, if they are not the usual ones."""
        return ""

    @property
    def whole_rows(self) -> bool:
        """Whether all trained tokens of a row must have one advantage."""
        return False

    @property
    def clip_range(self) -> tuple[float, float] | None:
        """The ratios of single tokens between which nothing is clipped; None where they are not what is clipped."""
        return None

    @property
    def vanishes_with_advantage(self) -> bool:
        """Whether the term is 0 wherever the advantage is, whatever the ratio: such rows are not run."""
        return False

    @abstractmethod
    def coefficient(self, advantage: Tokens, log_ratio: Tokens, mask: Mask) -> Tokens:
        """Returns the term [B, T]."""

    @abstractmethod
    def objective(self, advantage: Tokens, log_ratio: Tokens, mask: Mask, weight: Tokens) -> Float[Tensor, ""]:
        """Returns the published objective, a differentiable function of log_ratio, with the weight [B, T] applied."""


@dataclass(frozen=True)
class PPOClip(Surrogate):
    """Â·s·live(s), the gradient of min(s·Â, clip(s, 1-ε_low, 1+ε_high)·Â) (PPO, arXiv 1707.06347, Eq. 7).

    Above the token, s belongs to the whole completion; the weight must then be the same for all its trained tokens, as
    it is for every reduction here.

    Attributes:
        eps_low, eps_high: ε below and above 1; inf does not clip.
        level: s is the ratio of the "token"; of the "sequence", Π_t ρ_t (RLOO, arXiv 2402.14740); or "geometric",
            (Π_t ρ_t)^(1/|o|) (GSPO, arXiv 2507.18071, Eq. 7).

    >>> advantage, mask = torch.tensor([[2.0, 2.0]]), torch.tensor([[True, True]])
    >>> PPOClip(0.2, 0.2).coefficient(advantage, torch.tensor([[1.1, 1.3]]).log(), mask)
    tensor([[2.2000, 0.0000]])
    """

    eps_low: float
    eps_high: float
    level: Literal["token", "sequence", "geometric"] = "token"

    def __post_init__(self) -> None:
        check_number("surrogate.eps_low", self.eps_low, 0)
        check_number("surrogate.eps_high", self.eps_high, 0)
        check_choice("surrogate.level", self.level, ("token", "sequence", "geometric"))

    @property
    def formula(self) -> str:
        """See Surrogate."""
        s = "s" if self.whole_rows else "ρ"
        clips = self.eps_low < math.inf or self.eps_high < math.inf
        return f"Â·{s}·live({s})" if clips else f"Â·{s}"

    @property
    def where(self) -> str:
        """See Surrogate."""
        return {"token": "", "sequence": "s = Π_t ρ_t", "geometric": "s = (Π_t ρ_t)^(1/|o|)"}[self.level]

    @property
    def whole_rows(self) -> bool:
        """See Surrogate."""
        return self.level != "token"

    @property
    def clip_range(self) -> tuple[float, float] | None:
        """See Surrogate."""
        return None if self.whole_rows else (1 - self.eps_low, 1 + self.eps_high)

    @property
    def vanishes_with_advantage(self) -> bool:
        """See Surrogate."""
        return True

    def coefficient(self, advantage: Tokens, log_ratio: Tokens, mask: Mask) -> Tokens:
        """Returns Â·s·live(s) [B, T]."""
        if self.level == "token":
            ratio = ops.token_ratio(log_ratio)
        elif self.level == "sequence":
            ratio = ops.sequence_ratio(log_ratio, mask)[:, None].expand_as(log_ratio)
        else:
            ratio = ops.geometric_ratio(log_ratio, mask)[:, None].expand_as(log_ratio)
        return advantage * ratio * ops.live(ratio, advantage, self.eps_low, self.eps_high)

    def objective(self, advantage: Tokens, log_ratio: Tokens, mask: Mask, weight: Tokens) -> Float[Tensor, ""]:
        """Returns Σ w·min(s·Â, clip(s)·Â): over tokens, or over rows with the row's own weight."""
        ratio = log_ratio.exp()
        if self.level != "token":
            # w·GC is the derivative if a row weighs as much as each of its tokens (product of ratios), or as much as
            # all of them together (geometric mean, whose own derivative brings 1/|o|).
            length = mask.sum(1).clamp(min=1).to(ratio.dtype)
            ratio, advantage, weight = ratio.prod(1), advantage.sum(1) / length, weight.max(1).values
            if self.level == "geometric":
                ratio, weight = ratio ** (1 / length), weight * length
        clipped = ratio.clamp(1 - self.eps_low, 1 + self.eps_high)
        return (weight * torch.minimum(ratio * advantage, clipped * advantage)).sum()


@dataclass(frozen=True)
class NoSurrogate(Surrogate):
    """Â: the score-function estimator, for samples of the policy itself (REINFORCE, Williams 1992).

    >>> one = torch.ones(1, 1)
    >>> NoSurrogate().coefficient(2 * one, 0.5 * one, one > 0)
    tensor([[2.]])
    """

    @property
    def formula(self) -> str:
        """See Surrogate."""
        return "Â"

    @property
    def vanishes_with_advantage(self) -> bool:
        """See Surrogate."""
        return True

    def coefficient(self, advantage: Tokens, log_ratio: Tokens, mask: Mask) -> Tokens:
        """Returns Â [B, T]."""
        return advantage

    def objective(self, advantage: Tokens, log_ratio: Tokens, mask: Mask, weight: Tokens) -> Float[Tensor, ""]:
        """Returns Σ w·Â·log π_θ, less what does not depend on π_θ."""
        return (weight * advantage * log_ratio)[mask].sum()

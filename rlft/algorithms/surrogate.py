"""The part that corrects for samples drawn from π_old, and bounds how far one batch may move the policy."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

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

    def factors(self, advantage: Tokens, log_ratio: Tokens, mask: Mask) -> dict[str, Tensor]:
        """Returns ρ, and what Â is multiplied by, [B, T] by symbol; the latter is 0 where Â is."""
        term = self.coefficient(advantage, log_ratio, mask)
        return {"ρ": log_ratio.exp(), "term/Â": torch.where(advantage == 0, 0, term / advantage)}

    @abstractmethod
    def objective(self, advantage: Tokens, log_ratio: Tokens, mask: Mask, weight: Tokens) -> Float[Tensor, ""]:
        """Returns the published objective, a differentiable function of log_ratio, with the weight [B, T] applied."""


@dataclass(frozen=True)
class NoSurrogate(Surrogate):
    """Â: the score-function estimator, for samples of the policy itself (REINFORCE, Williams 1992).

    >>> import torch
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

"""The part that holds the policy to the reference. β is the method's own field; here is what it multiplies."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from rlft import ops

Tokens = Float[Tensor, "B T"]


class KL(ABC):
    """A penalty on the distance to π_ref. Subclasses are frozen dataclasses.

    Everything is [B, T], nats: `log_ratio_ref` x = log π_θ - log π_ref, `log_ratio` log ρ = log π_θ - log π_old.

    Attributes:
        penalises: "coefficient", "reward" (k1, β·(log π_old - log π_ref), is taken from the token reward before
            advantages are computed), or "nothing". Only the first kind has the two methods below to write.
    """

    penalises: ClassVar[Literal["coefficient", "reward", "nothing"]] = "coefficient"

    @property
    @abstractmethod
    def formula(self) -> str:
        """What stands after β in the coefficient, or after the formula if the penalty is in the reward."""

    def coefficient(self, log_ratio_ref: Tokens, log_ratio: Tokens) -> Tokens:
        """Returns what β multiplies in the coefficient [B, T]."""
        return torch.zeros_like(log_ratio_ref)

    def objective(self, log_ratio_ref: Tokens, log_ratio: Tokens) -> Tokens:
        """Returns minus the penalty of each token [B, T], differentiable in both arguments."""
        return torch.zeros_like(log_ratio_ref)


@dataclass(frozen=True)
class NoKL(KL):
    """No penalty; β must be 0."""

    penalises = "nothing"

    @property
    def formula(self) -> str:
        """See KL."""
        return "0"


@dataclass(frozen=True)
class K3(KL):
    """π_ref/π - 1, the gradient of -(π_ref/π - log(π_ref/π) - 1) (GRPO, arXiv 2402.03300, Eq. 4 and 21).

    In expectation over samples of π_θ it follows the forward KL(π_ref ‖ π_θ).

    Attributes:
        off_policy: multiply by ρ, for batches that several optimiser steps go over.

    >>> K3().coefficient(torch.tensor([[0.5]]).log(), torch.zeros(1, 1))
    tensor([[1.]])
    """

    off_policy: bool = False

    @property
    def formula(self) -> str:
        """See KL."""
        return "ρ·(π_ref/π - 1)" if self.off_policy else "(π_ref/π - 1)"

    def coefficient(self, log_ratio_ref: Tokens, log_ratio: Tokens) -> Tokens:
        """Returns π_ref/π - 1, times ρ if off_policy."""
        pull = ops.k3_coefficient(log_ratio_ref)
        return ops.token_ratio(log_ratio) * pull if self.off_policy else pull

    def objective(self, log_ratio_ref: Tokens, log_ratio: Tokens) -> Tokens:
        """Returns 1 - π_ref/π + log(π_ref/π), times sg(ρ) if off_policy."""
        inverse = 1 / log_ratio_ref.exp()
        return (log_ratio.detach().exp() if self.off_policy else 1) * (1 - inverse + inverse.log())


@dataclass(frozen=True)
class K2(KL):
    """-log(π/π_ref), the gradient of -½ log²(π/π_ref): the reverse KL(π_θ ‖ π_ref) per state, in expectation.

    Attributes:
        off_policy: multiply by ρ, for batches that several optimiser steps go over.

    >>> K2().coefficient(torch.tensor([[0.5]]), torch.zeros(1, 1))
    tensor([[-0.5000]])
    """

    off_policy: bool = False

    @property
    def formula(self) -> str:
        """See KL."""
        return "ρ·log(π_ref/π)" if self.off_policy else "log(π_ref/π)"

    def coefficient(self, log_ratio_ref: Tokens, log_ratio: Tokens) -> Tokens:
        """Returns log(π_ref/π), times ρ if off_policy."""
        pull = ops.k2_coefficient(log_ratio_ref)
        return ops.token_ratio(log_ratio) * pull if self.off_policy else pull

    def objective(self, log_ratio_ref: Tokens, log_ratio: Tokens) -> Tokens:
        """Returns -½ log²(π/π_ref), times sg(ρ) if off_policy."""
        return (log_ratio.detach().exp() if self.off_policy else 1) * -0.5 * log_ratio_ref**2


@dataclass(frozen=True)
class KLInReward(KL):
    """Takes β·(log π_old - log π_ref) from every token's reward (InstructGPT, arXiv 2203.02155, Eq. 2).

    It is part of the advantage, and adds nothing to the coefficient itself.

    >>> KLInReward().coefficient(torch.ones(1, 1), torch.ones(1, 1))
    tensor([[0.]])
    """

    penalises = "reward"

    @property
    def formula(self) -> str:
        """See KL."""
        return "r_t = r·1[last] - β·log(π_old/π_ref)"

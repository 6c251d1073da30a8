"""Advantages that differ from token to token: a critic's, and those that are whitened over the batch."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from rlft import ops
from rlft.algorithms.advantage import Advantage
from rlft.algorithms.checks import annotated, check_number
from rlft.base import Batch


@dataclass(frozen=True)
class GAE(Advantage):
    """Generalised advantages from a critic, from trained token to trained token (arXiv 1506.02438, Eq. 16).

    The completion's reward stands at its last trained token; V after it is 0. Returns are Â + V before whitening.

    Attributes:
        gamma: γ, discount per trained token, in [0, 1].
        lam: λ, in [0, 1]; 1 trusts the samples, 0 the critic.
        whiten: bring Â to mean 0 and variance 1 over all trained tokens of the batch.
    """

    gamma: float
    lam: float
    whiten: bool

    def __post_init__(self) -> None:
        check_number("advantage.gamma", self.gamma, 0, 1)
        check_number("advantage.lam", self.lam, 0, 1)

    @property
    def needs(self) -> frozenset[str]:
        """See Advantage."""
        return frozenset({"critic"})

    @property
    def per_token(self) -> bool:
        """See Advantage."""
        return True

    def fill(self, batch: Batch, penalty: Float[Tensor, "B T"]) -> Batch:
        """See Advantage; fills `returns` [B, T] too."""
        value = annotated(batch.value, "value")
        reward = ops.masked(batch.reward.to(value.dtype)[:, None].expand_as(value), ops.last(batch.mask))
        advantage = ops.gae(reward - penalty, value, batch.mask, self.gamma, self.lam)
        returns = ops.masked(advantage + value, batch.mask)
        if self.whiten:
            advantage = ops.whiten(advantage, batch.mask)
        return batch.replace(advantage=advantage, returns=returns)


@dataclass(frozen=True)
class TokenWhitened(Advantage):
    """Whitens r - Σ_{s≥t} penalty_s over all trained tokens of the batch (REINFORCE++, arXiv 2501.03262).

    The batch is the baseline, and no query needs more than one completion. With k1 in the reward the penalty is
    β·(log π_old - log π_ref), of which a token is charged its own and what follows.

    >>> from rlft.testing import make_batch
    >>> import torch
    >>> batch = make_batch(queries=2, samples=1, length=1, holes=False, rewards=torch.tensor([0.0, 2.0]))
    >>> TokenWhitened().fill(batch, torch.zeros(2, 1)).advantage  # (r - 1)/√2
    tensor([[-0.7071],
            [ 0.7071]], dtype=torch.float64)
    """

    @property
    def per_token(self) -> bool:
        """See Advantage."""
        return True

    def fill(self, batch: Batch, penalty: Float[Tensor, "B T"]) -> Batch:
        """See Advantage."""
        ahead = penalty.flip(1).cumsum(1).flip(1)
        return batch.replace(advantage=ops.whiten(batch.reward[:, None] - ahead, batch.mask))

"""The part that turns rewards into advantages: how much better a completion, or a token, was than could be expected."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from rlft import ops
from rlft.base import Batch

Rows = Float[Tensor, " B"]


class Advantage(ABC):
    """Fills `advantage`, and `returns` where a critic learns from them. Subclasses are frozen dataclasses."""

    @property
    def needs(self) -> frozenset[str]:
        """The annotations it reads, as Algorithm.needs."""
        return frozenset()

    @property
    def per_token(self) -> bool:
        """Whether the tokens of a row may have different advantages."""
        return False

    @abstractmethod
    def fill(self, batch: Batch, penalty: Float[Tensor, "B T"]) -> Batch:
        """Returns the batch with `advantage` [B, T] filled, zero where the mask is.

        Args:
            batch: the whole batch, scored and annotated.
            penalty: [B, T], what a KL in the reward takes from each token's reward; zeros if there is none.
        """


class RowAdvantage(Advantage):
    """An advantage of whole completions: all trained tokens of a row share it."""

    @abstractmethod
    def rows(self, reward: Rows, group: Int[Tensor, " B"]) -> Rows:
        """Returns Â [B] from the rewards [B] and the query of each row [B]."""

    def fill(self, batch: Batch, penalty: Float[Tensor, "B T"]) -> Batch:
        """See Advantage."""
        reward = batch.reward - ops.row_sum(penalty, batch.mask)
        rows = self.rows(reward, batch.group)
        return batch.replace(advantage=ops.masked(rows[:, None].expand(batch.mask.shape), batch.mask))


@dataclass(frozen=True)
class RewardAdvantage(RowAdvantage):
    """Â = r: no baseline (REINFORCE).

    >>> import torch
    >>> RewardAdvantage().rows(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]))
    tensor([1., 0.])
    """

    def rows(self, reward: Rows, group: Int[Tensor, " B"]) -> Rows:
        """Returns r."""
        return reward

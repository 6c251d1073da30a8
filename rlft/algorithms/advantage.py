"""The part that turns rewards into advantages: how much better a completion, or a token, was than could be expected."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rlft import ops
from rlft.algorithms.checks import annotated, check_choice, check_number
from rlft.base import Batch, UserError

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

    >>> RewardAdvantage().rows(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]))
    tensor([1., 0.])
    """

    def rows(self, reward: Rows, group: Int[Tensor, " B"]) -> Rows:
        """Returns r."""
        return reward


@dataclass(frozen=True)
class GroupNormalised(RowAdvantage):
    """Â = (r - mean)/(std + δ) within the group of one query (GRPO, arXiv 2402.03300, section 4.1.2).

    The standard deviation has Bessel's correction. A group of one, or of equal rewards, gives exactly 0.

    Attributes:
        delta: δ, keeps groups of nearly equal rewards from being blown up; above 0.
        scale: the rewards whose std divides: those of the "group", of the whole "batch", or "none" (no division).

    >>> GroupNormalised(delta=1e-4).rows(torch.tensor([0.0, 2.0]), torch.tensor([0, 0]))  # 1/(√2 + 1e-4)
    tensor([-0.7071,  0.7071])
    """

    delta: float = 1e-4
    scale: Literal["group", "batch", "none"] = "group"

    def __post_init__(self) -> None:
        check_number("advantage.delta", self.delta, 0, above=True)
        check_choice("advantage.scale", self.scale, ("group", "batch", "none"))

    def rows(self, reward: Rows, group: Int[Tensor, " B"]) -> Rows:
        """Returns (r - mean)/(std + δ)."""
        deviation = ops.group_deviation(reward, group)
        if self.scale == "none":
            return deviation
        over = group if self.scale == "group" else torch.zeros_like(group)
        return deviation / (ops.group_std(reward, over) + self.delta)


@dataclass(frozen=True)
class GroupCentred(RowAdvantage):
    """Â = r - mean within the group (Dr. GRPO, arXiv 2503.20783, section 3.2). A group of one gives 0.

    >>> GroupCentred().rows(torch.tensor([0.0, 2.0, 5.0]), torch.tensor([0, 0, 1]))
    tensor([-1.,  1.,  0.])
    """

    def rows(self, reward: Rows, group: Int[Tensor, " B"]) -> Rows:
        """Returns r - mean."""
        return ops.group_deviation(reward, group)


@dataclass(frozen=True)
class LeaveOneOut(RowAdvantage):
    """Â = r - mean of the group's other rewards, an unbiased baseline (RLOO, arXiv 2402.14740, Eq. 7).

    >>> LeaveOneOut().rows(torch.tensor([0.0, 1.0, 5.0]), torch.tensor([0, 0, 0]))
    tensor([-3.0000, -1.5000,  4.5000])
    """

    def rows(self, reward: Rows, group: Int[Tensor, " B"]) -> Rows:
        """Returns r - mean of the others.

        Raises:
            UserError: a group has one completion only.
        """
        if bool((ops.group_size(group) < 2).any()):
            raise UserError(
                "algorithm.advantage: leave-one-out compares at least 2 completions of each query, a query of this "
                "batch has 1; type data.samples_per_prompt=4"
            )
        return ops.leave_one_out(reward, group)


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

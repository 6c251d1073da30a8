"""Advantages of whole completions over the others of their query."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from rlft import ops
from rlft.algorithms.advantage import RowAdvantage, Rows
from rlft.algorithms.checks import check_choice, check_number
from rlft.base import UserError


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
class MeanRatio(RowAdvantage):
    """Â = (r - mean)/mean within the group, 0 where the mean is 0 (MaxRL, arXiv 2602.02710).

    With rewards of 0 and 1 a query that is solved once in G counts G - 1 times what one that is solved always but once
    does: its expectation is the gradient of a truncated log-likelihood of being right.

    >>> MeanRatio().rows(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0, 0, 1]))
    tensor([-1.,  1.,  0.])
    """

    def rows(self, reward: Rows, group: Int[Tensor, " B"]) -> Rows:
        """Returns (r - mean)/mean.

        Raises:
            UserError: a reward is below 0.
        """
        if bool((reward < 0).any()):
            raise UserError(
                f"algorithm.advantage: rewards are divided by their mean and must not be below 0, one is "
                f"{float(reward.min()):g}; type algorithm.advantage._target_=rlft.algorithms.GroupNormalised"
            )
        mean = ops.group_sum(reward, group) / ops.group_size(group)
        return ops.group_deviation(reward, group) / torch.where(mean > 0, mean, 1)

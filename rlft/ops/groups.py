"""Statistics of the rewards of one query's completions. `group` [B] names each row's query."""

from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor


def _index(group: Tensor) -> tuple[int, Tensor]:
    """Returns the number of groups, and each row's [B] as an index below it."""
    names, index = cast(
        "tuple[Tensor, Tensor]",
        torch.unique(group, return_inverse=True),  # pyright: ignore[reportUnknownMemberType]
    )
    return len(names), index


def group_count(group: Int[Tensor, " B"]) -> int:
    """Returns how many groups there are.

    >>> group_count(torch.tensor([0, 0, 2]))
    2
    """
    return _index(group)[0]


def group_size(group: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
    """Returns G [B], the number of rows in each row's group.

    >>> group_size(torch.tensor([0, 0, 1]))
    tensor([2, 2, 1])
    """
    count, index = _index(group)
    return torch.bincount(index, minlength=count)[index]


def group_sum(values: Float[Tensor, " B"], group: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Returns Σ over the row's group [B].

    >>> group_sum(torch.tensor([1.0, 2.0, 5.0]), torch.tensor([0, 0, 1]))
    tensor([3., 3., 5.])
    """
    count, index = _index(group)
    return torch.zeros(count, dtype=values.dtype, device=values.device).index_add_(0, index, values)[index]


def group_deviation(values: Float[Tensor, " B"], group: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Returns r - mean of the group [B]; exactly 0 where all rewards of the group are equal.

    >>> group_deviation(torch.tensor([0.0, 1.0, 0.1]), torch.tensor([0, 0, 1]))
    tensor([-0.5000,  0.5000,  0.0000])
    """
    count, index = _index(group)
    lowest = torch.zeros(count, dtype=values.dtype, device=values.device)
    lowest = lowest.scatter_reduce(0, index, values, "amin", include_self=False)[index]
    # Measured from the lowest, equal rewards are exact zeros, whose mean is exact too: such rows can be skipped.
    above = values - lowest
    return above - group_sum(above, group) / group_size(group)


def group_std(values: Float[Tensor, " B"], group: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Returns the standard deviation of the row's group [B], with Bessel's correction; 0 for a group of one.

    >>> group_std(torch.tensor([0.0, 2.0, 7.0]), torch.tensor([0, 0, 1]))
    tensor([1.4142, 1.4142, 0.0000])
    """
    squares = group_sum(group_deviation(values, group).square(), group)
    return (squares / (group_size(group) - 1).clamp(min=1)).sqrt()


def leave_one_out(values: Float[Tensor, " B"], group: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Returns r - mean of the other rewards of the group [B] (Kool et al., 2019; RLOO, arXiv 2402.14740, Eq. 7).

    It equals G/(G-1) times the deviation from the group's mean; 0 for a group of one.

    >>> leave_one_out(torch.tensor([0.0, 1.0, 5.0]), torch.tensor([0, 0, 0]))
    tensor([-3.0000, -1.5000,  4.5000])
    """
    size = group_size(group)
    return group_deviation(values, group) * size / (size - 1).clamp(min=1)

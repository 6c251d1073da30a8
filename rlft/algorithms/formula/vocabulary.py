"""What the text of a coefficient may speak of: names of values, and functions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rlft import ops
from rlft.algorithms.checks import annotated
from rlft.algorithms.log_ratio import to_old, to_reference
from rlft.base import Batch

Kind = Literal["number", "row", "token"]
"""One value in all; one of each completion, [B, 1]; one of each token, [B, T]. In this order: the greater one wins."""


@dataclass(frozen=True)
class Name:
    """A value of the batch.

    Attributes:
        kind: its shape. read: from the batch and log π [B, T] to the value. needs: the annotations it reads.
        depends: whether it depends on log π, so that it is not known before a row is run.
    """

    kind: Kind
    read: Callable[[Batch, Tensor], Tensor]
    needs: frozenset[str] = frozenset()
    depends: bool = False


def _logp_old(batch: Batch, logp: Tensor) -> Tensor:
    """log π_old, which is log π itself where a batch gets one step."""
    return ops.masked(logp.detach() if batch.logp_old is None else batch.logp_old, batch.mask)


def _logp_ref(batch: Batch, logp: Tensor) -> Tensor:
    return ops.masked(annotated(batch.logp_ref, "logp_ref"), batch.mask)


def _field(name: str) -> Callable[[Batch, Tensor], Tensor]:
    return lambda batch, logp: ops.masked(annotated(getattr(batch, name), name).to(logp.dtype), batch.mask)


REFERENCE, CRITIC = frozenset({"reference"}), frozenset({"critic"})
NAMES: dict[str, Name] = {
    "advantage": Name("token", _field("advantage")),
    "reward": Name("row", lambda batch, logp: batch.reward.to(logp.dtype)[:, None]),
    "length": Name("row", lambda batch, logp: ops.lengths(batch.mask).to(logp.dtype)[:, None]),
    "logp": Name("token", lambda batch, logp: ops.masked(logp, batch.mask), depends=True),
    "logp_old": Name("token", _logp_old, depends=True),
    "logp_ref": Name("token", _logp_ref, REFERENCE),
    "logp_teacher": Name("token", _field("logp_teacher"), frozenset({"teacher"})),
    "log_ratio": Name("token", to_old, depends=True),
    "ratio": Name("token", lambda batch, logp: to_old(batch, logp).exp(), depends=True),
    "log_ratio_ref": Name("token", to_reference, REFERENCE, depends=True),
    "ratio_ref": Name("token", lambda batch, logp: to_reference(batch, logp).exp(), REFERENCE, depends=True),
    "kl_full": Name("token", _field("kl_full"), frozenset({"kl_full"})),
    "value": Name("token", _field("value"), CRITIC),
    "returns": Name("token", _field("returns"), CRITIC),
}
"""Log-probabilities are in nats, ratios π/π_old and π/π_ref; `kl_full` is KL(π ‖ π_ref) over the whole vocabulary, as
it was before the batch's first step; |o| of `length` counts trained tokens."""


@dataclass(frozen=True)
class Function:
    """A function of values.

    Attributes:
        arguments: how many. apply: takes the batch and the values.
        over: "" works value by value; "tokens" takes one value a token and gives one a completion; "group" takes and
            gives one a completion.
        keeps_nought: whether it is 0 where all its values are.
    """

    arguments: int
    apply: Callable[[Batch, list[Tensor]], Tensor]
    over: Literal["", "tokens", "group"] = ""
    keeps_nought: bool = False


def _rows(values: Tensor, batch: Batch) -> Tensor:
    return values.expand(len(batch), 1)[:, 0]


def _group_mean(batch: Batch, values: list[Tensor]) -> Tensor:
    return (ops.group_sum(_rows(values[0], batch), batch.group) / ops.group_size(batch.group))[:, None]


def _group_std(batch: Batch, values: list[Tensor]) -> Tensor:
    return ops.group_std(_rows(values[0], batch), batch.group)[:, None]


FUNCTIONS: dict[str, Function] = {
    "clip": Function(3, lambda _, v: torch.minimum(torch.maximum(v[0], v[1]), v[2])),
    "minimum": Function(2, lambda _, v: torch.minimum(v[0], v[1]), keeps_nought=True),
    "maximum": Function(2, lambda _, v: torch.maximum(v[0], v[1]), keeps_nought=True),
    "exp": Function(1, lambda _, v: v[0].exp()),
    "log": Function(1, lambda _, v: v[0].log()),
    "sigmoid": Function(1, lambda _, v: v[0].sigmoid()),
    "tanh": Function(1, lambda _, v: v[0].tanh(), keeps_nought=True),
    "abs": Function(1, lambda _, v: v[0].abs(), keeps_nought=True),
    "where": Function(3, lambda _, v: torch.where(v[0], v[1], v[2])),
    "sg": Function(1, lambda _, v: v[0].detach(), keeps_nought=True),
    "mean_over_tokens": Function(1, lambda batch, v: ops.row_mean(v[0], batch.mask)[:, None], "tokens", True),
    "sum_over_tokens": Function(1, lambda batch, v: ops.row_sum(v[0], batch.mask)[:, None], "tokens", True),
    "group_mean": Function(1, _group_mean, "group"),
    "group_std": Function(1, _group_std, "group"),
}
"""`sg` stops the gradient, which only an objective has; `group_std` has Bessel's correction."""

"""How far the policy is, token by token, from the one that drew the tokens and from the reference."""

from torch import Tensor

from rlft import ops
from rlft.algorithms.checks import annotated
from rlft.base import Batch


def to_old(batch: Batch, logp: Tensor) -> Tensor:
    """Returns log π_θ - log π_old [B, T], nats, 0 where the mask is not set. Where a batch gets one step, π_old is π_θ
    held fixed."""
    return ops.masked(logp - (logp.detach() if batch.logp_old is None else batch.logp_old), batch.mask)


def to_reference(batch: Batch, logp: Tensor) -> Tensor:
    """Returns log π_θ - log π_ref [B, T], nats, 0 where the mask is not set. Raises ValueError without a reference."""
    return ops.masked(logp - annotated(batch.logp_ref, "logp_ref"), batch.mask)

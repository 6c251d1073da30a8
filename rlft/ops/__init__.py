"""Pure functions of tensors: the arithmetic that the algorithms are made of. torch alone."""

from rlft.ops.gae import gae
from rlft.ops.groups import group_count, group_deviation, group_size, group_std, group_sum, leave_one_out
from rlft.ops.kl import full_kl, k1, k2, k2_coefficient, k3, k3_coefficient
from rlft.ops.logprob import linear_logp
from rlft.ops.masking import last, lengths, masked, masked_mean, row_mean, row_sum, whiten
from rlft.ops.mismatch import masked_mismatch, truncated_mismatch
from rlft.ops.ratio import geometric_ratio, live, sequence_ratio, token_ratio
from rlft.ops.reduction import constant_length, sequence_mean, sequence_sum, token_mean, total

__all__ = [
    "constant_length",
    "full_kl",
    "gae",
    "geometric_ratio",
    "group_count",
    "group_deviation",
    "group_size",
    "group_std",
    "group_sum",
    "k1",
    "k2",
    "k2_coefficient",
    "k3",
    "k3_coefficient",
    "last",
    "leave_one_out",
    "lengths",
    "linear_logp",
    "live",
    "masked",
    "masked_mean",
    "masked_mismatch",
    "row_mean",
    "row_sum",
    "sequence_mean",
    "sequence_ratio",
    "sequence_sum",
    "token_mean",
    "token_ratio",
    "total",
    "truncated_mismatch",
    "whiten",
]

"""Methods as gradient coefficients, and the parts that they are put together from."""

from rlft.algorithms.advantage import (
    GAE,
    Advantage,
    GroupCentred,
    GroupNormalised,
    LeaveOneOut,
    RewardAdvantage,
    RowAdvantage,
)
from rlft.algorithms.kl import K2, K3, KL, KLInReward, NoKL
from rlft.algorithms.policy_gradient import PolicyGradient
from rlft.algorithms.preference import DPO, Preference
from rlft.algorithms.process import StepNormalised
from rlft.algorithms.reduction import ConstantLength, Reduction, SequenceMean, SequenceSum, Sum, TokenMean
from rlft.algorithms.surrogate import NoSurrogate, PPOClip, Surrogate
from rlft.algorithms.weighted_likelihood import WeightedLikelihood

__all__ = [
    "DPO",
    "GAE",
    "K2",
    "K3",
    "KL",
    "Advantage",
    "ConstantLength",
    "GroupCentred",
    "GroupNormalised",
    "KLInReward",
    "LeaveOneOut",
    "NoKL",
    "NoSurrogate",
    "PPOClip",
    "PolicyGradient",
    "Preference",
    "Reduction",
    "RewardAdvantage",
    "RowAdvantage",
    "SequenceMean",
    "SequenceSum",
    "StepNormalised",
    "Sum",
    "Surrogate",
    "TokenMean",
    "WeightedLikelihood",
]

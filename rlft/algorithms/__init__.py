"""Methods as gradient coefficients, and the parts that they are put together from."""

from rlft.algorithms.advantage import Advantage, RewardAdvantage, RowAdvantage
from rlft.algorithms.anchored import RPO, SimPO
from rlft.algorithms.bradley_terry import BradleyTerry
from rlft.algorithms.clip import PPOClip
from rlft.algorithms.distill import Distill
from rlft.algorithms.dpo import DPO, IPO, Hinge, RobustDPO
from rlft.algorithms.formula import Formula
from rlft.algorithms.group_advantage import GroupCentred, GroupNormalised, LeaveOneOut, MeanRatio
from rlft.algorithms.kl import K2, K3, KL, KLInReward, NoKL
from rlft.algorithms.kto import KTO
from rlft.algorithms.odds import ORPO
from rlft.algorithms.policy_gradient import PolicyGradient
from rlft.algorithms.preference import Preference
from rlft.algorithms.process import StepNormalised
from rlft.algorithms.reduction import ConstantLength, Reduction, SequenceMean, SequenceSum, Sum, TokenMean
from rlft.algorithms.soft import CISPO, SAPO, Tapered
from rlft.algorithms.surrogate import NoSurrogate, Surrogate
from rlft.algorithms.token_advantage import GAE, TokenWhitened
from rlft.algorithms.weighted_likelihood import WeightedLikelihood

__all__ = [
    "CISPO",
    "DPO",
    "GAE",
    "IPO",
    "K2",
    "K3",
    "KL",
    "KTO",
    "ORPO",
    "RPO",
    "SAPO",
    "Advantage",
    "BradleyTerry",
    "ConstantLength",
    "Distill",
    "Formula",
    "GroupCentred",
    "GroupNormalised",
    "Hinge",
    "KLInReward",
    "LeaveOneOut",
    "MeanRatio",
    "NoKL",
    "NoSurrogate",
    "PPOClip",
    "PolicyGradient",
    "Preference",
    "Reduction",
    "RewardAdvantage",
    "RobustDPO",
    "RowAdvantage",
    "SequenceMean",
    "SequenceSum",
    "SimPO",
    "StepNormalised",
    "Sum",
    "Surrogate",
    "Tapered",
    "TokenMean",
    "TokenWhitened",
    "WeightedLikelihood",
]

"""Reward functions: the second part of a method."""

from rlft.rewards.choice import MultipleChoice
from rlft.rewards.combine import Combine
from rlft.rewards.common import Scored
from rlft.rewards.extract import extract_answer, tagged_answer, to_number
from rlft.rewards.format import Format
from rlft.rewards.math_answer import MathAnswer
from rlft.rewards.model import RewardModel
from rlft.rewards.python import PythonReward
from rlft.rewards.reasoning import ReasoningGym
from rlft.rewards.simple import Implicit, Length, PreferenceLabel
from rlft.rewards.verifier import Verifier

__all__ = [
    "Combine",
    "Format",
    "Implicit",
    "Length",
    "MathAnswer",
    "MultipleChoice",
    "PreferenceLabel",
    "PythonReward",
    "ReasoningGym",
    "RewardModel",
    "Scored",
    "Verifier",
    "extract_answer",
    "tagged_answer",
    "to_number",
]

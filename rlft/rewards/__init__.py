"""Reward functions: the second part of a method."""

from rlft.rewards.arithmetic import ArithmeticSteps
from rlft.rewards.choice import MultipleChoice
from rlft.rewards.combine import Combine
from rlft.rewards.common import Scored
from rlft.rewards.extract import extract_answer, said_answer, tagged_answer, to_number
from rlft.rewards.format import Format
from rlft.rewards.math_answer import MathAnswer
from rlft.rewards.model import RewardModel
from rlft.rewards.process_model import ProcessModel
from rlft.rewards.python import PythonReward
from rlft.rewards.reasoning import ReasoningGym
from rlft.rewards.simple import Implicit, Label, Length, PreferenceLabel
from rlft.rewards.steps import Stepped, Steps
from rlft.rewards.verifier import Verifier

__all__ = [
    "ArithmeticSteps",
    "Combine",
    "Format",
    "Implicit",
    "Label",
    "Length",
    "MathAnswer",
    "MultipleChoice",
    "PreferenceLabel",
    "ProcessModel",
    "PythonReward",
    "ReasoningGym",
    "RewardModel",
    "Scored",
    "Stepped",
    "Steps",
    "Verifier",
    "extract_answer",
    "said_answer",
    "tagged_answer",
    "to_number",
]

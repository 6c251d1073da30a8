"""The loop, its checkpoints and what a run leaves behind."""

from rlft.train.budget import Budget
from rlft.train.config import TrainerConfig
from rlft.train.evaluate import evaluate_plan
from rlft.train.plan import Plan
from rlft.train.run import read_summary, train

__all__ = ["Budget", "Plan", "TrainerConfig", "evaluate_plan", "read_summary", "train"]

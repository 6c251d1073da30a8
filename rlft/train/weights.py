"""Which weights a run trains, and at what rates."""

from torch import nn

from rlft.models.adapter import has_adapter
from rlft.models.load import POLICY
from rlft.models.optimizer import MasterAdamW
from rlft.models.policy import Policy
from rlft.train.config import TrainerConfig


def trained_parameters(policy: Policy) -> list[nn.Parameter]:
    """Returns the policy's trained weights: its adapter's, or all of them, and those of its heads."""
    if has_adapter(policy.model):
        return [*(p for n, p in policy.model.named_parameters() if f".{POLICY}." in n), *policy.heads]
    return [*policy.model.parameters(), *policy.heads]


def make_optimizer(policy: Policy, trainer: TrainerConfig) -> MasterAdamW:
    """Returns the optimiser of the policy's trained weights, before any schedule."""
    betas = (trainer.beta1, trainer.beta2)
    optimizer = MasterAdamW(trained_parameters(policy), trainer.learning_rate, betas, trainer.weight_decay)
    if trainer.head_learning_rate is not None:
        optimizer.set_apart(policy.heads, trainer.head_learning_rate)
    return optimizer

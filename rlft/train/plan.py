"""A resolved recipe: the triple, the model and the trainer, as objects."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlft.base import Algorithm, Curriculum, DataSource, RewardFunction, UserError
from rlft.models.config import ModelConfig, TeacherConfig
from rlft.models.rollout import Rollout
from rlft.testing import ANNOTATIONS
from rlft.train.budget import Budget
from rlft.train.config import TrainerConfig


@dataclass(frozen=True)
class Plan:
    """Everything a run needs.

    Attributes:
        source, reward, algorithm: the triple.
        curriculum: which of the source's questions come next.
        model, trainer: settings of the model and of the loop. teacher: who teaches, if the algorithm asks for one.
        rollout: who draws completions.
        budget: what the run may spend.
        seed: fixes every draw.
        run_dir: where the run writes.
        recipe, method: the names chosen for the groups `recipe` and `algorithm`, e.g. "grpo_math" and "grpo".
        config: the composed recipe as plain values, as it is written to config.yaml.
    """

    source: DataSource
    curriculum: Curriculum
    reward: RewardFunction
    algorithm: Algorithm
    model: ModelConfig
    trainer: TrainerConfig
    rollout: Rollout
    teacher: TeacherConfig
    budget: Budget
    seed: int
    run_dir: Path
    recipe: str
    method: str
    config: dict[str, Any]

    def __post_init__(self) -> None:
        self.rollout.check(self.source, self.model, self.trainer.processes)
        self.curriculum.check(self.source.offers)
        self.budget.check(self.source, self.reward)

    def check(self) -> None:
        """Raises UserError if the algorithm needs what there is not, as rewards of steps from a reward that judges
        none, or the reward does: it can be looked at, but not trained with."""
        self.reward.check()
        if unknown := self.algorithm.needs - set(ANNOTATIONS):
            raise UserError(
                f"algorithm {self.method} needs {', '.join(sorted(unknown))}; rlft has {', '.join(ANNOTATIONS)}"
            )
        if "mismatched" in self.algorithm.needs and self.trainer.prompts_per_step < 2:
            raise UserError(
                f"trainer.prompts_per_step={self.trainer.prompts_per_step}: algorithm {self.method} compares "
                "completions with those of other questions; type trainer.prompts_per_step=2 or more"
            )
        if "teacher" in self.algorithm.needs:
            self.teacher.check()
        if self.trainer.critic_warmup_steps and "critic" not in self.algorithm.needs:
            raise UserError(
                f"trainer.critic_warmup_steps={self.trainer.critic_warmup_steps}: algorithm {self.method} has no "
                "critic, and the policy would stand still for nothing; leave it away, or type algorithm=ppo"
            )
        if self.trainer.head_learning_rate is not None and self.algorithm.trains == "log_probs":
            raise UserError(
                f"trainer.head_learning_rate={self.trainer.head_learning_rate}: algorithm {self.method} trains no "
                "score, which alone has a head of its own; type trainer.head_learning_rate=null, or "
                "algorithm=bradley_terry"
            )
        if "steps" in self.algorithm.needs and not self.reward.stepwise:
            raise UserError(
                f"algorithm {self.method} needs rewards of steps, and the reward {self.reward.name} judges none; "
                "type reward=arithmetic_steps or reward=process_model, or another algorithm (algorithm=grpo)"
            )
        self._check_evaluations()
        if self.trainer.kl_target is not None and not self.algorithm.kl_weight:
            none = self.algorithm.kl_weight is None
            why = "has no beta that weighs a KL to π_ref" if none else "has a beta of 0, which stays 0 times anything"
            other = "another algorithm (algorithm=grpo)" if none else "algorithm.beta=0.04, to start from"
            raise UserError(
                f"trainer.kl_target={self.trainer.kl_target}: algorithm {self.method} {why}; type "
                f"trainer.kl_target=null, or {other}"
            )
        if self.trainer.kl_target is not None and not self.source.on_policy:
            raise UserError(
                f"trainer.kl_target={self.trainer.kl_target}: a KL is measured on samples of the policy, and this data "
                "source draws none; type trainer.kl_target=null, or data=online"
            )

    def _check_evaluations(self) -> None:
        trainer = self.trainer
        for name in ("patience", "keep_best"):
            value = getattr(trainer, name)
            for other, typed in (("eval_every", 10), ("eval_size", 200)):
                if value and not getattr(trainer, other):
                    raise UserError(
                        f"trainer.{name}={str(value).lower()} goes by evaluations during the run, and with "
                        f"trainer.{other}=0 there are none; type trainer.{other}={typed}, or leave trainer.{name} away"
                    )

    def triple(self) -> str:
        """Returns the line that heads every run: data source (with its curriculum, if there is one), reward, algorithm
        and its coefficient."""
        chosen = f" · curriculum {self.curriculum.name}" if self.curriculum.needs else ""
        return (
            f"data {self.source.name}{chosen}   reward {self.reward.name}   "
            f"algorithm {self.method}: {self.algorithm.formula}"
        )

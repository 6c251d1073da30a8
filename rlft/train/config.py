"""The recipe's `trainer` node."""

from dataclasses import dataclass, field
from typing import Literal

from rlft.base.errors import UserError
from rlft.base.reward import RewardFunction


@dataclass(frozen=True)
class TrainerConfig:
    """How long, in what portions and at what rate the policy is trained.

    Attributes:
        steps: batches to draw; each is gone over `epochs` times in `mini_batches` optimiser steps.
        prompts_per_step: groups in a batch (rows for SFT, pairs for DPO, prompts with all their samples for GRPO).
        epochs, mini_batches: passes over a batch, and optimiser steps in each pass.
        tokens_per_micro_batch: positions (prompts and padding included) that go through the model at once; "auto" is
            chosen from the memory there is and frozen into the run's config. The gradient does not depend on it.
        gradient_checkpointing: whether backward computes each layer's activations again instead of keeping them: "on",
            "off", or "auto", on only where they do not fit the memory; frozen into the run's config.
        learning_rate, schedule, warmup_steps, weight_decay, beta1, beta2, max_grad_norm: AdamW. `schedule` and
            `warmup_steps` count optimiser steps; `max_grad_norm` 0 does not clip.
        head_learning_rate: of a reward model's head, which starts at zero and so has further to go than the adapter;
            null for `learning_rate`. `schedule` and `warmup_steps` are those of both.
        kl_target: KL(π_θ ‖ π_ref), nats per token (as the metric `kl`), that β is adapted to, where the algorithm's
            `beta` weighs a KL; null leaves β as it is. kl_horizon: completions in which β changes by at most a fifth or
            so, the smaller the faster.
        critic_learning_rate, critic_clip, critic_warmup_steps: of the critic, where the algorithm has one: its own
            AdamW, the value clip of PPO (0 does not clip), and the batches in which it alone learns first.
        eval_every: steps between evaluations on held-out questions; 0 evaluates before the first and after the last.
        eval_size: held-out questions, at most; 0 evaluates nothing.
        eval_long_tokens: the base is also measured at this limit, so that a gain is not a matter of being cut off.
        patience: evaluations without a better accuracy after which the run ends; 0 never ends early.
        keep_best: at the end take the adapter of the best evaluation, not the last.
        save_every: steps between checkpoints; 0 saves at the end and on interruption only.
        keep_checkpoints: newest checkpoints kept (the best one is kept beside them).
        stop_after: ends the run at this step with a checkpoint, as an interruption would; 0 does not.
        sample_every: steps between samples shown on the terminal.
        processes: processes on this machine; each takes a device.
        device: "auto" takes the accelerator there is; "cpu" does not.
        trackers: accelerate's trackers to log to, e.g. [tensorboard].
        verifier: what decides whether a held-out answer is right (a reward of at least 0.5).
    """

    steps: int = 100
    prompts_per_step: int = 8
    epochs: int = 1
    mini_batches: int = 1
    tokens_per_micro_batch: int | Literal["auto"] = "auto"
    gradient_checkpointing: Literal["auto", "on", "off"] = "auto"
    learning_rate: float = 1e-4
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    max_grad_norm: float = 1.0
    head_learning_rate: float | None = None
    kl_target: float | None = None
    kl_horizon: int = 10_000
    critic_learning_rate: float = 1e-4
    critic_clip: float = 0.2
    critic_warmup_steps: int = 0
    eval_every: int = 0
    eval_size: int = 200
    eval_long_tokens: int = 128
    patience: int = 0
    keep_best: bool = False
    save_every: int = 10
    keep_checkpoints: int = 2
    stop_after: int = 0
    sample_every: int = 10
    processes: int = 1
    device: Literal["auto", "cpu"] = "auto"
    trackers: list[str] = field(default_factory=list)
    verifier: RewardFunction | None = None

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value != "auto" and not value >= least:
                raise UserError(f"trainer.{name}={value}: expected a number of at least {least}")
        if self.kl_target is not None and not self.kl_target > 0:
            raise UserError(
                f"trainer.kl_target={self.kl_target}: expected a number above 0, in nats per token, or null"
            )
        if self.head_learning_rate is not None and not self.head_learning_rate >= 0:
            raise UserError(
                f"trainer.head_learning_rate={self.head_learning_rate}: expected a number of at least 0, or null"
            )
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"trainer.{name}={getattr(self, name)}: expected a number from 0 to below 1")


_LEAST = {
    **dict.fromkeys(
        ("steps", "prompts_per_step", "epochs", "mini_batches", "tokens_per_micro_batch", "keep_checkpoints"), 1
    ),
    **dict.fromkeys(("processes", "eval_long_tokens", "kl_horizon"), 1),
    **dict.fromkeys(("learning_rate", "warmup_steps", "weight_decay", "max_grad_norm"), 0),
    **dict.fromkeys(("critic_learning_rate", "critic_clip", "critic_warmup_steps"), 0),
    **dict.fromkeys(("eval_every", "eval_size", "patience", "save_every", "stop_after", "sample_every"), 0),
}

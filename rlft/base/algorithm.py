"""The algorithm plugin: from a batch and log π to the per-token gradient coefficient."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rlft.base.batch import Batch

Atom = Literal["completion", "group"]
Trained = Literal["log_probs", "scores", "token_scores"]
"""What stands where the loop has log π: the policy's, token by token, or a reward model's score of a completion, which
stands at its last token, or a score of each token, whose mean is the completion's."""
READ_REFERENCE = frozenset({"reference", "kl_full", "mismatched"})
"""Those of `Algorithm.needs` for which π_ref is run."""


class Algorithm(ABC):
    """The third part of a method: GC(q, o, t, π_ref) of the unified paradigm (DeepSeekMath, arXiv 2402.03300, Eq. 5).

    Subclasses are frozen dataclasses. Their fields are the hyper-parameters and, with their types and defaults, the
    schema of the recipe's `algorithm` node. They hold no state. The policy moves along
    Σ_t weight · coefficient · ∇log π_θ(o_t | q, o_<t), upwards.

    Attributes:
        atom: what is never split over mini- or micro-batches: single completions, or whole groups.
        group_size: completions that every query must have, e.g. 2 for pairs; None takes any.
    """

    atom: ClassVar[Atom] = "completion"
    group_size: int | None = None

    @property
    def trains(self) -> Trained:
        """What it is a coefficient of, and so which module the run makes of the model."""
        return "log_probs"

    @property
    def needs(self) -> frozenset[str]:
        """The annotations that `prepare` and `coefficient` read: any of "reference" (`logp_ref`), "old" (`logp_old`
        even where a batch gets a single optimiser step), "kl_full" (`kl_full`), "mismatched" (`mismatched`), "teacher"
        (`logp_teacher`), "critic" (`value`), "steps" (`step_reward`, `step_end`: from a reward that judges steps)."""
        return frozenset()

    @property
    @abstractmethod
    def formula(self) -> str:
        """The coefficient and the weight as text, e.g. "GC = r, w = m/(|o|·B)"."""

    @property
    def clip_range(self) -> tuple[float, float] | None:
        """The ratios π_θ/π_old between which nothing is clipped, for the clip shares in the metrics; None: no clip."""
        return None

    @property
    def kl_weight(self) -> float | None:
        """β, where the field `beta` weighs a penalty on the KL to π_ref, so that `trainer.kl_target` may adapt it; None
        where there is no such field or it means something else, as DPO's does."""
        return None

    def advice(self, good: int, bad: int) -> str | None:
        """Returns what is to be said, as a run begins, of data in which so many completions are good and bad; None if
        nothing."""
        return None

    @abstractmethod
    def reduction(self, mask: Tensor, group: Tensor) -> Tensor:
        """Returns the weight [B, T] of every token, from the trained mask [B, T] and group index [B] of one whole
        mini-batch (over all processes). Zero where the mask is."""

    def prepare(self, batch: Batch) -> Batch:
        """Fills `advantage`, `returns` and whatever else depends on the whole batch; called once per batch, without
        gradient, after scoring and annotation."""
        return batch

    @abstractmethod
    def coefficient(self, batch: Batch, logp: Tensor) -> Tensor:
        """Returns GC [B, T] for a micro-batch, given log π_θ [B, T] (nats, detached). Pure: no state, gradient or I/O.
        `batch.logp_old` is None when π_old is π_θ itself; then the ratio is 1."""

    def vanishes(self, batch: Batch) -> Tensor:
        """Returns [B] bool: the rows of a prepared batch whose coefficient is 0 whatever log π_θ is. They need neither
        a forward nor a backward pass; the weights of the others stay what they are. False where in doubt."""
        return torch.zeros_like(batch.finished)

    def terms(self, batch: Batch, logp: Tensor) -> dict[str, Tensor]:
        """Returns the summands of the coefficient [B, T] by their formulas: added up in this order they are the
        coefficient. For `rlft explain`."""
        return {"GC": self.coefficient(batch, logp)}

    def factors(self, batch: Batch, logp: Tensor) -> dict[str, Tensor]:
        """Returns what the terms are made of by symbol, such as the advantage and the ratio, [B, T] or [B, 1]. For
        `rlft explain`."""
        return {}

    def objective(self, batch: Batch, logp: Tensor) -> Tensor | None:
        """Returns the textbook objective (a scalar to be maximised, with `batch.weight` applied) as a differentiable
        function of logp [B, T], or None where there is none. For proof only: training never calls it."""
        return None

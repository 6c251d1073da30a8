"""A method of one's own in one line: the coefficient as text."""

from dataclasses import dataclass, field
from keyword import iskeyword

import torch
from jaxtyping import Bool
from torch import Tensor

from rlft import ops
from rlft.algorithms.advantage import Advantage
from rlft.algorithms.checks import check_number
from rlft.algorithms.formula.evaluate import Nought
from rlft.algorithms.formula.expression import Expression, Objective
from rlft.algorithms.formula.vocabulary import FUNCTIONS, NAMES
from rlft.algorithms.group_advantage import GroupNormalised
from rlft.algorithms.reduction import Reduction, SequenceMean
from rlft.base import READ_REFERENCE, Algorithm, Atom, Batch, UserError


@dataclass(frozen=True)
class Formula(Algorithm):
    """GC is what the text says, e.g. "advantage * clip(ratio, 0.8, 1.2) - beta * log_ratio_ref".

    Names are values of each token (advantage, logp, logp_old, logp_ref, logp_teacher, ratio, log_ratio, ratio_ref,
    log_ratio_ref, kl_full, value, returns), of each completion (reward, length), and numbers (beta, eps_low, eps_high
    and those of `constants`). Functions: clip, minimum, maximum, exp, log, sigmoid, tanh, abs, where, sg;
    mean_over_tokens and sum_over_tokens, which give one value a completion; group_mean and group_std of such values,
    which keep groups whole. What is not among them is refused. Annotations are computed as far as their names occur.

    Attributes:
        coefficient: the text.
        objective: the text of a function of logp whose gradient it is meant to be, Σ over trained tokens of w times it,
            for proof only; `sg(x)` is x without a gradient. Empty: none.
        beta, eps_low, eps_high: numbers of these names. constants: others. What no text speaks of is refused.
        group_size: completions that every query must have, e.g. 2 for pairs; None takes any.
        advantage: what `advantage` is. reduction: the weight of tokens.

    >>> from rlft.testing import make_batch
    >>> batch = make_batch(queries=1, samples=2, length=1, holes=False, rewards=torch.tensor([1.0, 0.0]))
    >>> signed = Formula("reward - constant", constants={"constant": 0.5})
    >>> signed.coefficient(signed.prepare(batch), batch.logp_ref)
    tensor([[ 0.5000],
            [-0.5000]], dtype=torch.float64)
    """

    # Called as Algorithm's methods are: an Expression is text and function.
    coefficient: str = "advantage"  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]
    objective: str = ""  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]
    beta: float = 0.0
    eps_low: float = 0.2
    eps_high: float = 0.2
    constants: dict[str, float] = field(default_factory=dict[str, float], hash=False)
    group_size: int | None = None
    advantage: Advantage = GroupNormalised()  # noqa: RUF009
    # The part is called as Algorithm's method is.
    reduction: Reduction = SequenceMean()  # noqa: RUF009  # pyright: ignore[reportIncompatibleMethodOverride]

    def __post_init__(self) -> None:
        for key in ("beta", "eps_low", "eps_high"):
            check_number(key, getattr(self, key), 0)
        numbers = {"beta": self.beta, "eps_low": self.eps_low, "eps_high": self.eps_high}
        for name in self.constants:
            if name in {*numbers, *NAMES, *FUNCTIONS} or not name.isidentifier() or iskeyword(name):
                raise UserError(f"algorithm.constants.{name}: expected a word that does not have a meaning yet")
        numbers |= self.constants
        read = Expression(self.coefficient, "algorithm.coefficient", numbers)
        proof = Objective(self.objective, "algorithm.objective", numbers)
        object.__setattr__(self, "coefficient", read)
        object.__setattr__(self, "objective", proof)
        self._check_numbers(read.used | (proof.used if proof else frozenset[str]()))
        if read.names & {"value", "returns"} and "critic" not in self.advantage.needs:
            raise UserError(
                "algorithm.coefficient: value and returns are a critic's, which learns from GAE's advantages: type "
                "algorithm.advantage._target_=rlft.algorithms.GAE"
            )
        if proof:
            self._check_objective(proof)

    def _check_numbers(self, used: frozenset[str]) -> None:
        given = {*self.constants, *(["beta"] if self.beta else [])}
        for name in sorted(given - used):
            key = f"constants.{name}" if name in self.constants else name
            raise UserError(f"algorithm.{key}: the coefficient does not speak of {name}; leave it away, or write it in")

    def _check_objective(self, proof: Objective) -> None:
        unread = {name for name in proof.names - self._read.names if NAMES[name].needs - self.needs}
        unread |= {"advantage"} & (proof.names - self._read.names)
        if unread:
            raise UserError(f"algorithm.objective: the coefficient does not speak of {', '.join(sorted(unread))}")
        if not any(NAMES[name].depends for name in proof.names):
            raise UserError("algorithm.objective: it does not depend on log π; write it in logp or ratio")

    @property
    def _read(self) -> Expression:
        """The coefficient as what it is after __post_init__."""
        assert isinstance(self.coefficient, Expression)
        return self.coefficient

    @property
    def atom(self) -> Atom:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See Algorithm: groups stay whole where their statistics are part of the coefficient."""
        return "group" if self._read.functions & {"group_mean", "group_std"} else "completion"

    @property
    def needs(self) -> frozenset[str]:
        """See Algorithm: what the names stand for."""
        own = frozenset[str]().union(*(NAMES[name].needs for name in self._read.names))
        return own | self.advantage.needs if self._read.names & {"advantage", "returns", "value"} else own

    @property
    def formula(self) -> str:
        """See Algorithm."""
        return f"GC = {self.coefficient}, w = {self.reduction.formula}"

    @property
    def kl_weight(self) -> float | None:
        """See Algorithm: β is taken for that where the text speaks of it and of π_ref."""
        return self.beta if "beta" in self._read.used and self.needs & READ_REFERENCE else None

    def prepare(self, batch: Batch) -> Batch:
        """Fills `advantage` if the text speaks of it. Raises UserError for a group of another size than is wanted."""
        sizes = ops.group_size(batch.group)
        if self.group_size is not None and bool((sizes != self.group_size).any()):
            row = int((sizes != self.group_size).nonzero()[0])
            raise UserError(
                f"row {row} of the batch: its query has {int(sizes[row])} completion(s), algorithm.group_size is "
                f"{self.group_size}"
            )
        if not self._read.names & {"advantage", "returns", "value"}:
            return batch
        return self.advantage.fill(
            batch, torch.zeros(batch.mask.shape, dtype=batch.reward.dtype, device=batch.mask.device)
        )

    def terms(self, batch: Batch, logp: Tensor) -> dict[str, Tensor]:
        """See Algorithm: the text's own summands."""
        return self._read.terms(batch, logp)

    def factors(self, batch: Batch, logp: Tensor) -> dict[str, Tensor]:
        """See Algorithm: the values that the text speaks of."""
        return {name: NAMES[name].read(batch, logp) for name in sorted(self._read.names)}

    def vanishes(self, batch: Batch) -> Bool[Tensor, " B"]:
        """See Algorithm: rows in which a factor of every term is 0."""
        return Nought(self._read.numbers, batch).visit(self._read.body)

"""PPO, GRPO and their family: one class, put together from four parts."""

from dataclasses import dataclass
from functools import reduce

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rlft import ops
from rlft.algorithms import log_ratio as log_ratios
from rlft.algorithms.advantage import Advantage
from rlft.algorithms.checks import annotated, check_number
from rlft.algorithms.kl import KL
from rlft.algorithms.reduction import Reduction, SequenceMean
from rlft.algorithms.surrogate import Surrogate
from rlft.base import Algorithm, Batch, UserError


@dataclass(frozen=True)
class PolicyGradient(Algorithm):
    """GC = surrogate(Â, ρ) + β·kl(π_ref/π, ρ) - α·log π (GRPO: arXiv 2402.03300, Eq. 3 and 21; PPO: arXiv 1707.06347,
    Eq. 7; α is 0 in both). DeepSeekMath's rows for them assume π_old = π_θ; these reduce to those at ρ = 1.

    Attributes:
        advantage: what Â is.
        surrogate: how ρ enters.
        kl: what holds the policy to π_ref: a term of GC, or k1 inside the reward.
        beta: β, times the KL wherever it goes; at 0 no reference is needed.
        reduction: the weight of tokens.
        entropy: α. Per state ∇H = -E[(log π + 1)·∇log π], and E[∇log π] = 0: on-policy -α·log π of the token drawn is
            the gradient of α·H in expectation, with the visited states held fixed (Williams and Peng, 1991).

    >>> from rlft.algorithms import K3, GroupNormalised, PPOClip
    >>> from rlft.testing import make_batch
    >>> grpo = PolicyGradient(GroupNormalised(), PPOClip(0.2, 0.2), K3(), beta=0.04)
    >>> grpo.formula
    'GC = Â·ρ·live(ρ) + β(π_ref/π - 1), w = m/(|o|·B)'
    >>> batch = make_batch(queries=1, samples=2, length=1, holes=False, rewards=torch.tensor([0.0, 2.0]))
    >>> gc = grpo.coefficient(grpo.prepare(batch.replace(logp_old=None)), batch.logp_ref)  # π = π_ref, ρ = 1
    >>> gc.round(decimals=5)  # ±1/(√2 + 1e-4)
    tensor([[-0.7071],
            [ 0.7071]], dtype=torch.float64)
    """

    advantage: Advantage
    surrogate: Surrogate
    kl: KL
    beta: float
    # The part is called as Algorithm's method is.
    reduction: Reduction = SequenceMean()  # noqa: RUF009  # pyright: ignore[reportIncompatibleMethodOverride]
    entropy: float = 0.0

    def __post_init__(self) -> None:
        check_number("beta", self.beta, 0)
        check_number("entropy", self.entropy, 0)
        if self.beta and self.kl.penalises == "nothing":
            raise UserError(
                f"algorithm.beta={self.beta}: the recipe has no KL for it to multiply; "
                "type algorithm.beta=0, or algorithm.kl._target_=rlft.algorithms.K3"
            )
        if self.surrogate.whole_rows and self.advantage.per_token:
            raise UserError(
                f"algorithm.surrogate: {type(self.surrogate).__name__} of whole completions needs one advantage per "
                f"completion, {type(self.advantage).__name__} gives one per token; type "
                "algorithm.surrogate._target_=rlft.algorithms.PPOClip algorithm.surrogate.level=token"
            )

    @property
    def needs(self) -> frozenset[str]:
        """See Algorithm: what the advantage reads; "reference" if β > 0, and "old" too if the KL is in the reward."""
        of_kl = {"reference", "old"} if self.kl.penalises == "reward" else {"reference"}
        return self.advantage.needs | (of_kl if self.beta else set[str]())

    @property
    def formula(self) -> str:
        """See Algorithm."""
        where = [self.surrogate.where] if self.surrogate.where else []
        gc = self.surrogate.formula
        if self.beta and self.kl.penalises == "reward":
            where.append(self.kl.formula)
        elif self.beta:
            gc += f" + β{'' if self.kl.formula.startswith('(') else '·'}{self.kl.formula}"
        gc += " - α·log π" if self.entropy else ""
        return ", ".join([f"GC = {gc}", f"w = {self.reduction.formula}", *where])

    @property
    def clip_range(self) -> tuple[float, float] | None:
        """See Algorithm."""
        return self.surrogate.clip_range

    @property
    def kl_weight(self) -> float | None:
        """See Algorithm."""
        return None if self.kl.penalises == "nothing" else self.beta

    def prepare(self, batch: Batch) -> Batch:
        """Fills `advantage`, and `returns` where a critic learns."""
        penalty = torch.zeros(batch.mask.shape, dtype=batch.reward.dtype, device=batch.mask.device)
        if self.beta and self.kl.penalises == "reward":
            log_ratio_ref = annotated(batch.logp_old, "logp_old") - annotated(batch.logp_ref, "logp_ref")
            penalty = self.beta * ops.masked(ops.k1(log_ratio_ref), batch.mask)
        return self.advantage.fill(batch, penalty)

    def coefficient(self, batch: Batch, logp: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """Returns surrogate + β·kl [B, T]; ρ is exactly 1 where `logp_old` is None."""
        return reduce(torch.add, self.terms(batch, logp).values())

    def terms(self, batch: Batch, logp: Float[Tensor, "B T"]) -> dict[str, Tensor]:
        """See Algorithm: the surrogate, and β·kl where it is part of the coefficient."""
        advantage = annotated(batch.advantage, "advantage").to(logp.dtype)
        log_ratio = log_ratios.to_old(batch, logp)
        terms = {self.surrogate.formula: self.surrogate.coefficient(advantage, log_ratio, batch.mask)}
        if self.beta and self.kl.penalises == "coefficient":
            log_ratio_ref = log_ratios.to_reference(batch, logp)
            terms[f"β·{self.kl.formula}"] = self.beta * self.kl.coefficient(log_ratio_ref, log_ratio)
        if self.entropy:
            terms["-α·log π"] = -self.entropy * logp
        return {formula: ops.masked(term, batch.mask) for formula, term in terms.items()}

    def factors(self, batch: Batch, logp: Float[Tensor, "B T"]) -> dict[str, Tensor]:
        """See Algorithm: Â, what the surrogate makes of ρ, π_ref/π where β > 0, and a critic's V and returns."""
        advantage = ops.masked(annotated(batch.advantage, "advantage").to(logp.dtype), batch.mask)
        found = {"Â": advantage, **self.surrogate.factors(advantage, log_ratios.to_old(batch, logp), batch.mask)}
        if self.beta:
            found["π_ref/π"] = (-log_ratios.to_reference(batch, logp)).exp()
        if "critic" in self.needs:
            found |= {"V": annotated(batch.value, "value"), "return": annotated(batch.returns, "returns")}
        return found

    def vanishes(self, batch: Batch) -> Bool[Tensor, " B"]:
        """See Algorithm: without a KL term or an entropy bonus, rows whose advantage is 0 throughout."""
        pulled = self.entropy > 0 or (self.beta > 0 and self.kl.penalises == "coefficient")
        if pulled or not self.surrogate.vanishes_with_advantage:
            return super().vanishes(batch)
        return ~(ops.masked(annotated(batch.advantage, "advantage"), batch.mask) != 0).any(1)

    def objective(self, batch: Batch, logp: Float[Tensor, "B T"]) -> Float[Tensor, ""]:
        """Returns the surrogate objective less β times the KL (k1 in the reward is no part of it) and ½α·log²π."""
        weight, log_ratio = annotated(batch.weight, "weight"), log_ratios.to_old(batch, logp)
        result = self.surrogate.objective(annotated(batch.advantage, "advantage"), log_ratio, batch.mask, weight)
        if self.beta:
            log_ratio_ref = log_ratios.to_reference(batch, logp)
            result = result + self.beta * (weight * self.kl.objective(log_ratio_ref, log_ratio)).sum()
        if self.entropy:
            result = result - 0.5 * self.entropy * (weight * logp**2)[batch.mask].sum()
        return result

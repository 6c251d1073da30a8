"""KTO: completions that are good or bad, each for itself, against a point of reference that the batch gives."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rlft import ops
from rlft.algorithms.checks import annotated, check_number
from rlft.base import Algorithm, Batch


@dataclass(frozen=True)
class KTO(Algorithm):
    """GC = ±λ·β·p(1-p), p = σ(±β(q - z0)), q = Σ_t log(π/π_ref): + for good completions (reward above 0.5), - for bad
    ones (KTO, arXiv 2402.01306, Eq. 8).

    z0 estimates KL(π ‖ π_ref) as max(0, mean log-ratio) of completions put after the prompt of another query, once a
    batch and without a gradient.

    Attributes:
        beta: β, how fast value saturates; above 0.
        good, bad: λ of either kind, for data in which one is rarer: the paper keeps good·n_good between 1 and 4/3 of
            bad·n_bad.

    >>> from rlft.testing import make_batch
    >>> batch = make_batch(queries=2, samples=1, length=1, holes=False, rewards=torch.tensor([1.0, 0.0]))
    >>> batch = batch.replace(mismatched=torch.zeros(2, dtype=torch.float64))
    >>> kto = KTO(beta=0.4)
    >>> kto.coefficient(kto.prepare(batch), batch.logp_ref)  # q = z0 = 0: ±λβ/4
    tensor([[ 0.1000],
            [-0.1000]], dtype=torch.float64)
    """

    beta: float
    good: float = 1.0
    bad: float = 1.0

    def __post_init__(self) -> None:
        check_number("beta", self.beta, 0, above=True)
        check_number("good", self.good, 0)
        check_number("bad", self.bad, 0)

    @property
    def needs(self) -> frozenset[str]:
        """See Algorithm."""
        return frozenset({"reference", "mismatched"})

    @property
    def formula(self) -> str:
        """See Algorithm."""
        return "GC = ±λ·β·p(1-p), w = m/B, p = σ(±β(q - z0)), q = Σ log(π/π_ref), z0 = max(0, mean q of mismatched)"

    def advice(self, good: int, bad: int) -> str | None:
        """See Algorithm."""
        pulls, pushes = self.good * good, self.bad * bad
        if not pulls or not pushes or pushes <= pulls <= 4 / 3 * pushes:
            return None
        return (
            f"algorithm.good={self.good:g} times {good} good completions is {pulls / pushes:.2g} of algorithm.bad="
            f"{self.bad:g} times {bad} bad ones; the KTO paper keeps that from 1 to 4/3, lest the rarer kind goes "
            f"unheard: as with algorithm.good={1.15 * pushes / good:.2g}"
        )

    def reduction(self, mask: Bool[Tensor, "B T"], group: Int[Tensor, " B"]) -> Float[Tensor, "B T"]:
        """Returns m/B [B, T]."""
        return ops.sequence_sum(mask)

    def prepare(self, batch: Batch) -> Batch:
        """Fills `advantage` with ±1 by the label, and puts z0 in the place of `mismatched`."""
        point = annotated(batch.mismatched, "mismatched").mean().clamp(min=0)
        sign = torch.where(batch.reward > 0.5, 1.0, -1.0).to(batch.reward.dtype)
        spread = ops.masked(sign[:, None].expand(batch.mask.shape), batch.mask)
        return batch.replace(advantage=spread, mismatched=point.expand(len(batch)))

    def coefficient(self, batch: Batch, logp: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """Returns ±λβp(1-p) [B, T]."""
        sign = annotated(batch.advantage, "advantage").to(logp.dtype)
        p = torch.sigmoid(self.beta * self._gap(batch, logp))  # p(1-p) is the same for either sign
        worth = self.good * sign.clamp(min=0) - self.bad * sign.clamp(max=0)  # λ
        return sign * worth * self.beta * p * (1 - p)

    def factors(self, batch: Batch, logp: Float[Tensor, "B T"]) -> dict[str, Tensor]:
        """See Algorithm: the label, how far the completion is ahead of z0, and the value of that."""
        sign, gap = annotated(batch.advantage, "advantage").to(logp.dtype), self._gap(batch, logp)
        return {"±": sign, "q - z0": gap, "p": torch.sigmoid(sign * self.beta * gap)}

    def _gap(self, batch: Batch, logp: Float[Tensor, "B T"]) -> Float[Tensor, "B 1"]:
        """Returns q - z0 of each row, nats."""
        log_ratio = ops.row_sum(logp - annotated(batch.logp_ref, "logp_ref"), batch.mask)
        return (log_ratio - annotated(batch.mismatched, "mismatched").to(logp.dtype))[:, None]

    def objective(self, batch: Batch, logp: Float[Tensor, "B T"]) -> Float[Tensor, ""]:
        """Returns Σ over completions of w·λ·p."""
        weight, reference = annotated(batch.weight, "weight"), annotated(batch.logp_ref, "logp_ref")
        result, point = logp.new_zeros(()), annotated(batch.mismatched, "mismatched")
        for row, kept in enumerate(batch.mask):
            gain = (logp[row] - reference[row])[kept].sum() - point[row]
            worth = self.good * torch.sigmoid(self.beta * gain)
            if batch.reward[row] <= 0.5:
                worth = self.bad * torch.sigmoid(-self.beta * gain)
            result = result + weight[row].max() * worth
        return result

"""ORPO: a pair by the odds of its completions, with supervised fine-tuning on the one that is preferred."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from rlft import ops
from rlft.algorithms.checks import annotated, check_number
from rlft.algorithms.preference import Margin, Preference, pairs
from rlft.base import Batch

CERTAIN = -1e-6  # the mean log π, nats, that is taken for the greatest: its odds have no end


@dataclass(frozen=True)
class ORPO(Preference):
    """GC(o⁺) = [1 + λ·σ(-l)/(1-P⁺)]/|o|, GC(o⁻) = -λ·σ(-l)/(1-P⁻)/|o| (ORPO, arXiv 2403.07691, Eq. 6 and 7).

    P = exp(mean log π) and l = log[P⁺/(1-P⁺)] - log[P⁻/(1-P⁻)], the log of the ratio of the odds: supervised
    fine-tuning on o⁺ that pushes o⁻ away. No reference.

    Attributes:
        weight: λ, of at least 0.
    """

    relative: ClassVar[bool] = False
    symbol: ClassVar[str] = "l"
    averaged = True

    weight: float

    def __post_init__(self) -> None:
        check_number("weight", self.weight, 0)

    @property
    def slope_formula(self) -> str:
        """See Preference."""
        return "λ·σ(-l)"

    @property
    def formula(self) -> str:
        """See Algorithm."""
        pull = f"{self.slope_formula}/(1-P)"
        return f"GC = (1[o⁺] ± {pull})/|o|, w = m/#pairs, P = exp(mean log π), l = log odds(o⁺) - log odds(o⁻)"

    def value(self, margin: Margin) -> Margin:
        """Returns λ·log σ(l)."""
        return self.weight * logsigmoid(margin)

    def slope(self, margin: Margin) -> Margin:
        """Returns λ·σ(-l)."""
        return self.weight * torch.sigmoid(-margin)

    def terms(self, batch: Batch, logp: Float[Tensor, "B T"]) -> dict[str, Tensor]:
        """See Algorithm: the likelihood of o⁺, and the pull on the odds of both."""
        sign = annotated(batch.advantage, "advantage").to(logp.dtype) / ops.lengths(batch.mask).to(logp.dtype)[:, None]
        rest = -torch.expm1(ops.row_mean(logp, batch.mask).clamp(max=CERTAIN))[:, None]  # 1 - P
        pull = sign * self.slope(self.margin(batch, logp))[:, None] / rest
        return {"1[o⁺]/|o|": sign.clamp(min=0), f"±{self.slope_formula}/(1-P)/|o|": pull}

    def factors(self, batch: Batch, logp: Float[Tensor, "B T"]) -> dict[str, Tensor]:
        """See Preference; and P."""
        chance = ops.row_mean(logp, batch.mask).clamp(max=CERTAIN).exp()[:, None]
        return {**super().factors(batch, logp), "P": chance}

    def margin(self, batch: Batch, logp: Float[Tensor, "B T"]) -> Float[Tensor, " B"]:
        """Returns l of each row's pair [B], nats."""
        side = ops.row_mean(annotated(batch.advantage, "advantage").to(logp.dtype), batch.mask)
        mean = ops.row_mean(logp, batch.mask).clamp(max=CERTAIN)
        return ops.group_sum(side * (mean - torch.log(-torch.expm1(mean))), batch.group)

    def score(self, batch: Batch, logp: Float[Tensor, "B T"], row: int) -> Float[Tensor, ""]:
        """Returns the log of the odds."""
        p = super().score(batch, logp, row).exp()
        return torch.log(p / (1 - p)) if bool(batch.mask[row].any()) else logp.new_zeros(())

    def objective(self, batch: Batch, logp: Float[Tensor, "B T"]) -> Float[Tensor, ""]:
        """Returns Σ over pairs of w·(mean log π(o⁺) + λ·log σ(l))."""
        weight = annotated(batch.weight, "weight")
        likelihood = [weight[better].max() * super(ORPO, self).score(batch, logp, better) for better, _ in pairs(batch)]
        return super().objective(batch, logp) + sum(likelihood)

"""Reward models: the score that prefers the better of two completions takes the place of log π."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid, sigmoid

from rlft import ops
from rlft.algorithms.checks import annotated, check_number
from rlft.algorithms.preference import Margin, Preference, pairs
from rlft.base import Batch, Trained


@dataclass(frozen=True)
class BradleyTerry(Preference):
    """GC = ±σ(-h) at the one token that carries the score s, h = s(o⁺) - s(o⁻): the gradient of log σ(h), the log
    probability of the preference (Bradley and Terry, Biometrika 39:324-345, 1952; as the loss of a reward model in
    Ouyang et al., arXiv 2203.02155, Eq. 1).

    With `averaged` each token has a score, and s is their mean: GC = ±σ(-h)/|o|. Verifiers of mathematics
    that judge at every token came out better than those that judge once, at the end (Cobbe et al., arXiv 2110.14168).

    Only differences count, so that scores may drift together; with `centring` c the objective has -c(s(o⁺) + s(o⁻))²
    beside it, which holds their middle near 0 (Eisenstein et al., arXiv 2312.09244).

    Attributes:
        centring: c, at least 0.
        averaged: whether s is the mean of a score of each token, instead of one score at the last.

    >>> import torch
    >>> from rlft.testing import make_batch
    >>> batch = make_batch(queries=1, samples=2, length=2, holes=False, rewards=torch.tensor([1.0, 0.0]))
    >>> method = BradleyTerry()
    >>> method.coefficient(method.prepare(batch), torch.zeros(2, 2, dtype=torch.float64))  # h = 0: ±1/2
    tensor([[ 0.0000,  0.5000],
            [ 0.0000, -0.5000]], dtype=torch.float64)
    """

    relative: ClassVar[bool] = False

    centring: float = 0.0
    averaged: bool = False

    def __post_init__(self) -> None:
        check_number("centring", self.centring, 0)

    @property
    def trains(self) -> Trained:
        """See Algorithm."""
        return "token_scores" if self.averaged else "scores"

    @property
    def slope_formula(self) -> str:
        """See Preference."""
        return "σ(-h)"

    @property
    def formula(self) -> str:
        """See Algorithm."""
        centred = " - 2c(s(o⁺) + s(o⁻))" if self.centring else ""
        slope = f"{self.slope_formula}{centred}"
        if not self.averaged:
            return f"GC = ±{slope}, w = last token/#pairs, h = s(o⁺) - s(o⁻), s in the place of log π"
        slope = f"({slope})" if centred else slope
        return f"GC = ±{slope}/|o|, w = m/#pairs, h = mean s(o⁺) - mean s(o⁻), s in the place of log π"

    def value(self, margin: Margin) -> Margin:
        """Returns log σ(h)."""
        return logsigmoid(margin)

    def slope(self, margin: Margin) -> Margin:
        """Returns σ(-h)."""
        return sigmoid(-margin)

    def reduction(self, mask: Bool[Tensor, "B T"], group: Int[Tensor, " B"]) -> Float[Tensor, "B T"]:
        """Returns 1/#pairs at each row's last trained token, or with `averaged` at all of them."""
        return Preference.reduction(self, mask if self.averaged else ops.last(mask), group)

    def prepare(self, batch: Batch) -> Batch:
        """Leaves each row its last trained token, or with `averaged` all, and fills `advantage` with ±1 there."""
        return Preference.prepare(self, batch if self.averaged else batch.replace(mask=ops.last(batch.mask)))

    def terms(self, batch: Batch, logp: Float[Tensor, "B T"]) -> dict[str, Tensor]:
        """See Algorithm: ±σ(-h), and -2c(s(o⁺) + s(o⁻)), given scores in the place of log π."""
        terms = Preference.terms(self, batch, logp)
        if self.centring:
            # Of one score a row the mean is that score.
            middle = ops.group_sum(ops.row_mean(logp, batch.mask), batch.group)[:, None]
            sign = annotated(batch.advantage, "advantage").to(logp.dtype)
            each = sign.abs() / ops.lengths(batch.mask).to(logp.dtype)[:, None]
            terms["-2c(s(o⁺) + s(o⁻))"] = -2 * self.centring * each * middle
        return terms

    def objective(self, batch: Batch, logp: Float[Tensor, "B T"]) -> Float[Tensor, ""]:
        """Returns Σ over pairs of w·(log σ(h) - c(s(o⁺) + s(o⁻))²)."""
        weight, result = annotated(batch.weight, "weight"), super().objective(batch, logp)
        for rows in pairs(batch):
            middle = sum(self.score(batch, logp, row) for row in rows)
            result = result - self.centring * weight[list(rows)].max() * middle**2
        return result

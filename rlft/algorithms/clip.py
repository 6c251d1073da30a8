"""PPO's clipped surrogate, of tokens and of whole completions."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from rlft import ops
from rlft.algorithms.checks import check_choice, check_number
from rlft.algorithms.surrogate import Mask, Surrogate, Tokens


@dataclass(frozen=True)
class PPOClip(Surrogate):
    """Â·s·live(s), the gradient of min(s·Â, clip(s, 1-ε_low, 1+ε_high)·Â) (PPO, arXiv 1707.06347, Eq. 7).

    Above the token, s belongs to the whole completion; the weight must then be the same for all its trained tokens, as
    it is for every reduction here.

    Attributes:
        eps_low, eps_high: ε below and above 1; inf does not clip.
        level: s is the ratio of the "token"; of the "sequence", Π_t ρ_t (RLOO, arXiv 2402.14740); or "geometric",
            (Π_t ρ_t)^(1/|o|) (GSPO, arXiv 2507.18071, Eq. 7).

    >>> advantage, mask = torch.tensor([[2.0, 2.0]]), torch.tensor([[True, True]])
    >>> PPOClip(0.2, 0.2).coefficient(advantage, torch.tensor([[1.1, 1.3]]).log(), mask)
    tensor([[2.2000, 0.0000]])
    """

    eps_low: float
    eps_high: float
    level: Literal["token", "sequence", "geometric"] = "token"

    def __post_init__(self) -> None:
        check_number("surrogate.eps_low", self.eps_low, 0)
        check_number("surrogate.eps_high", self.eps_high, 0)
        check_choice("surrogate.level", self.level, ("token", "sequence", "geometric"))

    @property
    def formula(self) -> str:
        """See Surrogate."""
        s = "s" if self.whole_rows else "ρ"
        clips = self.eps_low < math.inf or self.eps_high < math.inf
        return f"Â·{s}·live({s})" if clips else f"Â·{s}"

    @property
    def where(self) -> str:
        """See Surrogate."""
        return {"token": "", "sequence": "s = Π_t ρ_t", "geometric": "s = (Π_t ρ_t)^(1/|o|)"}[self.level]

    @property
    def whole_rows(self) -> bool:
        """See Surrogate."""
        return self.level != "token"

    @property
    def clip_range(self) -> tuple[float, float] | None:
        """See Surrogate."""
        return None if self.whole_rows else (1 - self.eps_low, 1 + self.eps_high)

    @property
    def vanishes_with_advantage(self) -> bool:
        """See Surrogate."""
        return True

    def coefficient(self, advantage: Tokens, log_ratio: Tokens, mask: Mask) -> Tokens:
        """Returns Â·s·live(s) [B, T]."""
        ratio = self._ratio(log_ratio, mask)
        return advantage * ratio * ops.live(ratio, advantage, self.eps_low, self.eps_high)

    def factors(self, advantage: Tokens, log_ratio: Tokens, mask: Mask) -> dict[str, Tensor]:
        """See Surrogate: ρ (or s), and whether the clip lets the token live."""
        ratio, symbol = self._ratio(log_ratio, mask), "s" if self.whole_rows else "ρ"
        live = ops.live(ratio, advantage, self.eps_low, self.eps_high)
        return {symbol: ratio, f"live({symbol})": live.to(ratio.dtype)}

    def objective(self, advantage: Tokens, log_ratio: Tokens, mask: Mask, weight: Tokens) -> Float[Tensor, ""]:
        """Returns Σ w·min(s·Â, clip(s)·Â): over tokens, or over rows with the row's own weight."""
        ratio = log_ratio.exp()
        if self.level != "token":
            # w·GC is the derivative if a row weighs as much as each of its tokens (product of ratios), or as much as
            # all of them together (geometric mean, whose own derivative brings 1/|o|).
            length = mask.sum(1).clamp(min=1).to(ratio.dtype)
            ratio, advantage, weight = ratio.prod(1), advantage.sum(1) / length, weight.max(1).values
            if self.level == "geometric":
                ratio, weight = ratio ** (1 / length), weight * length
        clipped = ratio.clamp(1 - self.eps_low, 1 + self.eps_high)
        return (weight * torch.minimum(ratio * advantage, clipped * advantage)).sum()

    def _ratio(self, log_ratio: Tokens, mask: Mask) -> Tokens:
        """Returns s of every token [B, T]."""
        if self.level == "token":
            return ops.token_ratio(log_ratio)
        of_rows = ops.sequence_ratio if self.level == "sequence" else ops.geometric_ratio
        return of_rows(log_ratio, mask)[:, None].expand_as(log_ratio)

"""Methods on pairs that go by the likelihood itself: instead of the reference, or beside it."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from rlft import ops
from rlft.algorithms.checks import annotated, check_number
from rlft.algorithms.dpo import DPO
from rlft.algorithms.preference import Margin, Preference, pairs
from rlft.base import Batch


@dataclass(frozen=True)
class RPO(DPO):
    """DPO's GC, and α/|o| more for o⁺: supervised fine-tuning on what is preferred (arXiv 2404.19733, Eq. 1).

    Attributes:
        beta, label_smoothing: as DPO's.
        alpha: α, of at least 0.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("alpha", self.alpha, 0)

    @property
    def formula(self) -> str:
        """See Algorithm."""
        return super().formula.replace(", w =", " + α/|o|·1[o⁺], w =", 1)

    def terms(self, batch: Batch, logp: Float[Tensor, "B T"]) -> dict[str, Tensor]:
        """See Algorithm: ±f'(h), and α/|o|·1[o⁺]."""
        preferred = annotated(batch.advantage, "advantage").clamp(min=0).to(logp.dtype)
        length = ops.lengths(batch.mask).to(logp.dtype)[:, None]
        return DPO.terms(self, batch, logp) | {"α/|o|·1[o⁺]": self.alpha * preferred / length}

    def objective(self, batch: Batch, logp: Float[Tensor, "B T"]) -> Float[Tensor, ""]:
        """Returns Σ over pairs of w·(f(h) + α·mean log π(o⁺))."""
        weight, result = annotated(batch.weight, "weight"), super().objective(batch, logp)
        for better, _ in pairs(batch):
            tokens = logp[better][batch.mask[better]]
            result = result + self.alpha * weight[better].max() * tokens.sum() / max(1, len(tokens))
        return result


@dataclass(frozen=True)
class SimPO(Preference):
    """GC = ±(β/|o|)·σ(γ - βh), h of mean log π: no reference (SimPO, arXiv 2405.14734, Eq. 6).

    Attributes:
        beta: β, above 0.
        gamma: γ, the margin of β·h that is aimed at, of at least 0.

    >>> from rlft.testing import make_batch
    >>> batch = make_batch(queries=1, samples=2, length=2, holes=False, rewards=torch.tensor([1.0, 0.0]))
    >>> simpo = SimPO(beta=2.0, gamma=0.0)
    >>> simpo.coefficient(simpo.prepare(batch), torch.zeros(2, 2, dtype=torch.float64))  # h = 0: ±β/(2·|o|)
    tensor([[ 0.5000,  0.5000],
            [-0.5000, -0.5000]], dtype=torch.float64)
    """

    relative: ClassVar[bool] = False
    averaged = True

    beta: float
    gamma: float

    def __post_init__(self) -> None:
        check_number("beta", self.beta, 0, above=True)
        check_number("gamma", self.gamma, 0)

    @property
    def slope_formula(self) -> str:
        """See Preference."""
        return "β·σ(γ - βh)"

    def value(self, margin: Margin) -> Margin:
        """Returns log σ(βh - γ)."""
        return logsigmoid(self.beta * margin - self.gamma)

    def slope(self, margin: Margin) -> Margin:
        """Returns β·σ(γ - βh)."""
        return self.beta * torch.sigmoid(self.gamma - self.beta * margin)

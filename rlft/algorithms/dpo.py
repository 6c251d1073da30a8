"""DPO and what puts another function in the place of its logarithm: pairs, held to the reference."""

from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from rlft.algorithms.checks import check_number
from rlft.algorithms.preference import Margin, Preference


@dataclass(frozen=True)
class DPO(Preference):
    """GC = ±β[(1-ε)·σ(-βh) - ε·σ(βh)], the gradient of the objective of Rafailov et al., arXiv 2305.18290, Eq. 7.

    With ε > 0 it is the conservative DPO of its authors' note: the label is wrong with probability ε. It differs from
    the coefficient printed in DeepSeekMath (arXiv 2402.03300, A.1.5), which drops β and takes ratios token by token.

    Attributes:
        beta: β, how strongly π_θ is held to π_ref; above 0.
        label_smoothing: ε, in [0, 0.5].
        averaged: h of means over tokens instead of sums.

    >>> import torch
    >>> from rlft.testing import make_batch
    >>> batch = make_batch(queries=1, samples=2, length=1, holes=False, rewards=torch.tensor([1.0, 0.0]))
    >>> dpo = DPO(beta=0.1)
    >>> dpo.coefficient(dpo.prepare(batch), batch.logp_ref)  # h = 0: ±β/2
    tensor([[ 0.0500],
            [-0.0500]], dtype=torch.float64)
    """

    beta: float
    label_smoothing: float = 0.0
    averaged: bool = False

    def __post_init__(self) -> None:
        check_number("beta", self.beta, 0, above=True)
        check_number("label_smoothing", self.label_smoothing, 0, 0.5)

    @property
    def slope_formula(self) -> str:
        """See Preference."""
        return "β[(1-ε)·σ(-βh) - ε·σ(βh)]" if self.label_smoothing else "β·σ(-βh)"

    def value(self, margin: Margin) -> Margin:
        """Returns (1-ε)·log σ(βh) + ε·log σ(-βh)."""
        smooth = self.label_smoothing
        return (1 - smooth) * logsigmoid(self.beta * margin) + smooth * logsigmoid(-self.beta * margin)

    def slope(self, margin: Margin) -> Margin:
        """Returns β[(1-ε)·σ(-βh) - ε·σ(βh)]."""
        wrong = torch.sigmoid(-self.beta * margin)
        return self.beta * ((1 - self.label_smoothing) * wrong - self.label_smoothing * (1 - wrong))


@dataclass(frozen=True)
class IPO(Preference):
    """GC = ±2(1/(2β) - h), the gradient of -(h - 1/(2β))² (IPO, arXiv 2310.12036, Eq. 17).

    The margin is led to 1/(2β), above 0, and no further, where DPO's grows without end on pairs that are always alike.
    h is of sums over tokens, or with `averaged` of means.

    >>> from rlft.testing import make_batch
    >>> batch = make_batch(queries=1, samples=2, length=1, holes=False, rewards=torch.tensor([1.0, 0.0]))
    >>> IPO(beta=0.5).coefficient(IPO(beta=0.5).prepare(batch), batch.logp_ref)  # h = 0: ±1/β
    tensor([[ 2.],
            [-2.]], dtype=torch.float64)
    """

    beta: float
    averaged: bool = False

    def __post_init__(self) -> None:
        check_number("beta", self.beta, 0, above=True)

    @property
    def slope_formula(self) -> str:
        """See Preference."""
        return "2(1/(2β) - h)"

    def value(self, margin: Margin) -> Margin:
        """Returns -(h - 1/(2β))²."""
        return -((margin - 1 / (2 * self.beta)) ** 2)

    def slope(self, margin: Margin) -> Margin:
        """Returns 2(1/(2β) - h)."""
        return 1 / self.beta - 2 * margin


@dataclass(frozen=True)
class Hinge(Preference):
    """GC = ±β where βh < 1 and 0 elsewhere, the gradient of -max(0, 1 - βh), β above 0 (SLiC's loss on log-ratios, as
    in RSO, arXiv 2309.06657, section 3.3)."""

    beta: float

    def __post_init__(self) -> None:
        check_number("beta", self.beta, 0, above=True)

    @property
    def slope_formula(self) -> str:
        """See Preference."""
        return "β·1[βh < 1]"

    def value(self, margin: Margin) -> Margin:
        """Returns -max(0, 1 - βh)."""
        return -torch.relu(1 - self.beta * margin)

    def slope(self, margin: Margin) -> Margin:
        """Returns β·1[βh < 1]."""
        return self.beta * (self.beta * margin < 1).to(margin.dtype)


@dataclass(frozen=True)
class RobustDPO(Preference):
    """GC = ±β[(1-ε)·σ(-βh) + ε·σ(βh)]/(1-2ε), without bias where labels are flipped with probability ε (robust DPO,
    arXiv 2403.00409, Eq. 11).

    Attributes:
        beta: β, above 0.
        flipped: ε, in [0, 0.49].
    """

    beta: float
    flipped: float

    def __post_init__(self) -> None:
        check_number("beta", self.beta, 0, above=True)
        check_number("flipped", self.flipped, 0, 0.49)

    @property
    def slope_formula(self) -> str:
        """See Preference."""
        return "β[(1-ε)·σ(-βh) + ε·σ(βh)]/(1-2ε)"

    def value(self, margin: Margin) -> Margin:
        """Returns [(1-ε)·log σ(βh) - ε·log σ(-βh)]/(1-2ε)."""
        right, wrong = logsigmoid(self.beta * margin), logsigmoid(-self.beta * margin)
        return ((1 - self.flipped) * right - self.flipped * wrong) / (1 - 2 * self.flipped)

    def slope(self, margin: Margin) -> Margin:
        """Returns β[(1-ε)·σ(-βh) + ε·σ(βh)]/(1-2ε)."""
        wrong = torch.sigmoid(-self.beta * margin)
        return self.beta * ((1 - self.flipped) * wrong + self.flipped * (1 - wrong)) / (1 - 2 * self.flipped)

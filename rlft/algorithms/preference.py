"""Methods on pairs (o⁺, o⁻): the coefficient depends on how far apart the two completions of a query are."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rlft import ops
from rlft.algorithms.checks import annotated, check_number
from rlft.base import Algorithm, Atom, Batch, UserError


class Preference(Algorithm):
    """A function of h = Σ_t log(π_θ/π_ref)(o⁺) - Σ_t log(π_θ/π_ref)(o⁻), the margin of the *summed* log-ratios.

    The rows of a group are a pair; the one with the greater reward is preferred. A pair of equal rewards states no
    preference, and its coefficient is 0. Subclasses are frozen dataclasses and state f and its derivative.
    """

    atom: ClassVar[Atom] = "group"

    @abstractmethod
    def value(self, margin: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Returns f(h), what a pair adds to the objective, differentiable."""

    @abstractmethod
    def slope(self, margin: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Returns f'(h)."""

    @property
    def needs(self) -> frozenset[str]:
        """See Algorithm."""
        return frozenset({"reference"})

    def reduction(self, mask: Bool[Tensor, "B T"], group: Int[Tensor, " B"]) -> Float[Tensor, "B T"]:
        """Returns m/#pairs [B, T]."""
        return ops.total(mask) / max(1, ops.group_count(group))

    def prepare(self, batch: Batch) -> Batch:
        """Fills `advantage` with +1 for o⁺, -1 for o⁻ and 0 for both completions of a tie.

        Raises:
            UserError: a group is not a pair.
        """
        sizes = ops.group_size(batch.group)
        if bool((sizes != 2).any()):
            row = int((sizes != 2).nonzero()[0])
            raise UserError(
                f"row {row} of the batch: its query has {int(sizes[row])} completion(s), a preference pair has 2; "
                "type data=preference, or choose another algorithm"
            )
        sign = ops.group_deviation(batch.reward, batch.group).sign()
        return batch.replace(advantage=ops.masked(sign[:, None].expand(batch.mask.shape), batch.mask))

    def coefficient(self, batch: Batch, logp: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """Returns ±f'(h) [B, T]."""
        sign = annotated(batch.advantage, "advantage").to(logp.dtype)
        log_ratio_ref = logp - annotated(batch.logp_ref, "logp_ref")
        margin = ops.group_sum(ops.row_sum(sign * log_ratio_ref, batch.mask), batch.group)
        return sign * self.slope(margin)[:, None]

    def objective(self, batch: Batch, logp: Float[Tensor, "B T"]) -> Float[Tensor, ""]:
        """Returns Σ over pairs of w·f(h)."""
        weight, logp_ref = annotated(batch.weight, "weight"), annotated(batch.logp_ref, "logp_ref")
        result = logp.new_zeros(())
        for rows in batch.atoms("group"):
            order = rows[batch.reward[rows].argsort(descending=True)]
            first, second = int(order[0]), int(order[1])
            if batch.reward[first] == batch.reward[second]:
                continue
            preferred = (logp[first] - logp_ref[first])[batch.mask[first]].sum()
            other = (logp[second] - logp_ref[second])[batch.mask[second]].sum()
            result = result + weight[rows].max() * self.value(preferred - other)
        return result


@dataclass(frozen=True)
class DPO(Preference):
    """GC = ±β[(1-ε)·σ(-βh) - ε·σ(βh)], the gradient of the objective of Rafailov et al., arXiv 2305.18290, Eq. 7.

    With ε > 0 it is the conservative DPO of its authors' note: the label is wrong with probability ε. It differs from
    the coefficient printed in DeepSeekMath (arXiv 2402.03300, A.1.5), which drops β and takes ratios token by token.

    Attributes:
        beta: β, how strongly π_θ is held to π_ref; above 0.
        label_smoothing: ε, in [0, 0.5].

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

    def __post_init__(self) -> None:
        check_number("beta", self.beta, 0, above=True)
        check_number("label_smoothing", self.label_smoothing, 0, 0.5)

    @property
    def formula(self) -> str:
        """See Algorithm."""
        slope = "β[(1-ε)·σ(-βh) - ε·σ(βh)]" if self.label_smoothing else "β·σ(-βh)"
        return f"GC = ±{slope}, w = m/#pairs, h = Σ log(π/π_ref)(o⁺) - Σ log(π/π_ref)(o⁻)"

    def value(self, margin: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Returns (1-ε)·log σ(βh) + ε·log σ(-βh)."""
        smooth, log_sigmoid = self.label_smoothing, torch.nn.functional.logsigmoid
        return (1 - smooth) * log_sigmoid(self.beta * margin) + smooth * log_sigmoid(-self.beta * margin)

    def slope(self, margin: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Returns β[(1-ε)·σ(-βh) - ε·σ(βh)]."""
        wrong = torch.sigmoid(-self.beta * margin)
        return self.beta * ((1 - self.label_smoothing) * wrong - self.label_smoothing * (1 - wrong))

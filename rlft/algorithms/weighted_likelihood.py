"""SFT, RFT and Online RFT: the likelihood of completions, weighted by their reward."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from rlft import ops
from rlft.algorithms.checks import annotated
from rlft.algorithms.reduction import Reduction, SequenceMean
from rlft.base import Algorithm, Batch


@dataclass(frozen=True)
class WeightedLikelihood(Algorithm):
    """GC = r(q, o), the same for every token of o (DeepSeekMath, arXiv 2402.03300, A.1.2 to A.1.4).

    The data source and the reward decide which method it is: recorded answers with r = 1 are SFT; samples of π_ref,
    drawn once, with r = 1[correct] are RFT; samples of π_θ are Online RFT. A wrong answer is not penalised: GC = 0.

    Attributes:
        reduction: the weight of tokens.

    >>> import torch
    >>> from rlft.testing import make_batch
    >>> batch = make_batch(queries=1, samples=2, length=2, holes=False, rewards=torch.tensor([1.0, 0.0]))
    >>> WeightedLikelihood().coefficient(batch, torch.zeros(2, 2, dtype=torch.float64))
    tensor([[1., 1.],
            [0., 0.]], dtype=torch.float64)
    """

    # The part is called as Algorithm's method is.
    reduction: Reduction = SequenceMean()  # noqa: RUF009  # pyright: ignore[reportIncompatibleMethodOverride]

    @property
    def formula(self) -> str:
        """See Algorithm."""
        return f"GC = r, w = {self.reduction.formula}"

    def coefficient(self, batch: Batch, logp: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """Returns r where the mask is, [B, T]."""
        return ops.masked(batch.reward.to(logp.dtype)[:, None].expand_as(logp), batch.mask)

    def vanishes(self, batch: Batch) -> Bool[Tensor, " B"]:
        """See Algorithm: rows whose reward is 0, in RFT the wrong answers."""
        return batch.reward == 0

    def objective(self, batch: Batch, logp: Float[Tensor, "B T"]) -> Float[Tensor, ""]:
        """Returns Σ w r log π_θ(o_t | q, o_<t)."""
        return (annotated(batch.weight, "weight") * batch.reward[:, None] * logp)[batch.mask].sum()

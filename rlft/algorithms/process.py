"""Process supervision: advantages from rewards that are given at the end of each step."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rlft import ops
from rlft.algorithms.checks import annotated
from rlft.algorithms.group_advantage import GroupNormalised
from rlft.base import Batch


@dataclass(frozen=True)
class StepNormalised(GroupNormalised):
    """Â_t = Σ (r_j - mean R)/(std R + δ) over the steps j that end at or after t (GRPO with process supervision,
    arXiv 2402.03300, section 4.1.3).

    R holds the rewards of all steps of all completions of the group, so that a completion of many steps counts more in
    its mean than one of few; `delta` and `scale` are those of GroupNormalised. Tokens after the last step, and
    completions without a step, have an advantage of 0. A group of one completion has its own steps to compare. What a
    KL in the reward takes is not normalised: it is added up from each token on.

    >>> from rlft.testing import make_batch
    >>> batch = make_batch(queries=1, samples=2, length=3, holes=False)
    >>> end = torch.tensor([[True, False, True], [False, True, False]])  # two steps, and one
    >>> steps = batch.replace(step_end=end, step_reward=torch.tensor([[1.0, 9.0, 0.0], [9.0, 1.0, 9.0]]).double())
    >>> none = torch.zeros(2, 3, dtype=torch.float64)
    >>> StepNormalised(delta=1e-9).fill(steps, none).advantage  # R = 1, 0, 1: ±1/√3, ±2/√3
    tensor([[-0.5774, -1.1547, -1.1547],
            [ 0.5774,  0.5774,  0.0000]], dtype=torch.float64)
    """

    @property
    def needs(self) -> frozenset[str]:
        """See Advantage."""
        return frozenset({"steps"})

    @property
    def per_token(self) -> bool:
        """See Advantage."""
        return True

    def fill(self, batch: Batch, penalty: Float[Tensor, "B T"]) -> Batch:
        """See Advantage."""
        reward, end = annotated(batch.step_reward, "step_reward"), annotated(batch.step_end, "step_end")
        group = batch.group[:, None].expand(end.shape)
        given = torch.zeros_like(reward).masked_scatter(end, self.rows(reward[end], group[end]))
        ahead = (given - penalty).flip(1).cumsum(1).flip(1)
        return batch.replace(advantage=ops.masked(ahead, batch.mask))

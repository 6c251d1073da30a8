"""Any one part of a policy gradient may be a user's own: what it is given, and what becomes of what it returns."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from rlft.algorithms import (
    CISPO,
    KL,
    Advantage,
    GroupCentred,
    KLInReward,
    NoKL,
    NoSurrogate,
    PolicyGradient,
    PPOClip,
    Reduction,
    RewardAdvantage,
    Surrogate,
    WeightedLikelihood,
)
from rlft.base import Batch
from rlft.testing import assert_gradient, make_batch

JUNK = 7.0


@dataclass(frozen=True)
class Penalties(Advantage):
    """Keeps the penalty it is given, and takes it for the advantage."""

    seen: list[Tensor] = field(default_factory=list)

    def fill(self, batch: Batch, penalty: Tensor) -> Batch:
        self.seen.append(penalty)
        return batch.replace(advantage=penalty)


@dataclass(frozen=True)
class Leaky(Surrogate):
    """Returns log ρ, and junk where the mask is."""

    formula = "log ρ"

    def coefficient(self, advantage: Tensor, log_ratio: Tensor, mask: Tensor) -> Tensor:
        assert not log_ratio[~mask].any()
        return torch.where(mask, log_ratio, JUNK)

    def objective(self, advantage: Tensor, log_ratio: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
        return (weight * log_ratio.square() / 2).sum()


@dataclass(frozen=True)
class Linear(KL):
    """A penalty of log(π/π_ref) itself, which must be 0 where the mask is."""

    mask: Tensor
    formula = "-1"

    def coefficient(self, log_ratio_ref: Tensor, log_ratio: Tensor) -> Tensor:
        assert not log_ratio_ref[~self.mask].any() and not log_ratio[~self.mask].any()
        return -torch.ones_like(log_ratio_ref)

    def objective(self, log_ratio_ref: Tensor, log_ratio: Tensor) -> Tensor:
        return -log_ratio_ref


@dataclass(frozen=True)
class Alternate(Reduction):
    """Every other row counts."""

    formula = "m·1[odd]"

    def __call__(self, mask: Tensor, group: Tensor) -> Tensor:
        return mask.double() * (torch.arange(len(mask)) % 2)[:, None]


def test_an_advantage_is_given_the_penalty_of_trained_tokens() -> None:
    batch = make_batch()
    assert batch.logp_old is not None and batch.logp_ref is not None
    part = Penalties()
    prepared = PolicyGradient(part, NoSurrogate(), KLInReward(), 0.5).prepare(batch)
    expected = torch.where(batch.mask, 0.5 * (batch.logp_old - batch.logp_ref), 0.0)
    assert torch.equal(part.seen[0], expected) and prepared.advantage is part.seen[0]
    PolicyGradient(part, NoSurrogate(), KLInReward(), 0.0).prepare(batch)
    assert not part.seen[1].any()


def test_a_surrogate_a_kl_and_a_reduction_of_ones_own() -> None:
    batch = make_batch()
    method = PolicyGradient(RewardAdvantage(), Leaky(), Linear(batch.mask), 0.3, Alternate())
    assert method.formula == "GC = log ρ + β·-1, w = m·1[odd]"
    assert_gradient(method, batch)
    assert batch.logp_old is not None
    gc = method.coefficient(method.prepare(batch), batch.logp_old + 2)
    assert torch.allclose(gc, torch.where(batch.mask, 2 - 0.3, 0.0).double(), atol=1e-6)
    assert not method.reduction(batch.mask, batch.group)[0].any()


def test_clip_range_is_that_of_single_tokens() -> None:
    token, geometric = PPOClip(0.2, 0.28), PPOClip(0.2, 0.28, level="geometric")
    assert token.clip_range == pytest.approx((0.8, 1.28))
    assert geometric.clip_range is None  # its ratio is the completion's: shares of tokens would say nothing
    assert CISPO(1.0, 0.28).clip_range == pytest.approx((0.0, 1.28))
    assert NoSurrogate().clip_range is None
    assert PolicyGradient(GroupCentred(), token, NoKL(), 0.0).clip_range == token.clip_range
    assert WeightedLikelihood().clip_range is None

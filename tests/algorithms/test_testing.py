"""The helpers for authors of algorithms: the batch is what it says, and a wrong coefficient is caught and named."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from rlft.algorithms import WeightedLikelihood
from rlft.base import Algorithm, Batch
from rlft.testing import assert_gradient, make_batch


@dataclass(frozen=True)
class Wrong(WeightedLikelihood):
    """One token's coefficient is off."""

    error: float = 0.5

    def coefficient(self, batch: Batch, logp: Tensor) -> Tensor:
        gc = super().coefficient(batch, logp).clone()
        gc[1, 2] += self.error
        return gc


@dataclass(frozen=True)
class Unproved(WeightedLikelihood):
    def objective(self, batch: Batch, logp: Tensor) -> None:
        return None


def test_a_wrong_token_is_named() -> None:
    batch = make_batch(holes=False)
    with pytest.raises(AssertionError, match="Wrong: row 1, token 2"):
        assert_gradient(Wrong(), batch)
    assert_gradient(Wrong(error=1e-13), batch)
    assert_gradient(Wrong(), batch, tolerance=1.0)


def test_a_nan_is_no_match() -> None:
    with pytest.raises(AssertionError, match="row 1, token 2"):
        assert_gradient(Wrong(error=float("nan")), make_batch(holes=False))


def test_without_an_objective_there_is_nothing_to_prove() -> None:
    with pytest.raises(ValueError, match="Unproved has no objective"):
        assert_gradient(Unproved(), make_batch())


class OfLogp(Algorithm):
    """J = Σ w·(log π)²/2, to see at which log π the two are compared."""

    formula = "GC = log π"

    def reduction(self, mask: Tensor, group: Tensor) -> Tensor:
        return mask.double()

    def coefficient(self, batch: Batch, logp: Tensor) -> Tensor:
        assert torch.equal(logp, torch.full_like(logp, -3.0)), "another log π"
        return logp

    def objective(self, batch: Batch, logp: Tensor) -> Tensor:
        assert batch.weight is not None
        return (batch.weight * logp.square() / 2).sum()


def test_log_pi_may_be_given_in_any_precision() -> None:
    batch = make_batch()
    assert_gradient(OfLogp(), batch, torch.full(batch.mask.shape, -3.0, dtype=torch.float32))
    with pytest.raises(AssertionError, match="another log π"):
        assert_gradient(OfLogp(), batch)


def test_a_batch_as_asked_for() -> None:
    batch = make_batch(2, 3, 4, seed=5, needs=("critic",), rewards=torch.arange(6))
    assert batch.group.tolist() == [0, 0, 0, 1, 1, 1]
    assert batch.reward.tolist() == [0, 1, 2, 3, 4, 5] and batch.reward.dtype == torch.float64
    assert batch.value is not None and batch.logp_ref is None and batch.logp_old is None
    assert not (batch.mask & ~batch.attention).any()
    holed = make_batch(8, 4, 6)
    assert (holed.attention & ~holed.mask).any() and not holed.attention.all()
    assert holed.logp_ref is not None and (holed.logp_ref <= 0).all() and len(holed.logp_ref.unique()) > 100
    assert make_batch(holes=False).mask.all()


def test_a_batch_is_drawn_from_its_seed_alone() -> None:
    first, again, other = make_batch(seed=1), make_batch(seed=1), make_batch(seed=2)
    assert torch.equal(first.reward, again.reward) and not torch.equal(first.reward, other.reward)
    fewer = make_batch(seed=1, needs=("reference",))
    assert fewer.logp_ref is not None and first.logp_ref is not None and torch.equal(fewer.logp_ref, first.logp_ref)

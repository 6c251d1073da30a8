"""The mismatch weight: worked out by hand, applied once, and of π_old however far π_θ has gone."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from learners import Case, Split, make, make_learner
from runs import lines, make_plan, run
from tiny import random_batch
from torch import Tensor

import rlft.ops as ops
from rlft.algorithms import K3, GroupNormalised, PolicyGradient, PPOClip
from rlft.base import RunError
from rlft.models.mismatch import Mismatch
from rlft.models.rollout import VLLM, Native
from rlft.train.metrics import Tally

TRUNCATED, MASKED = Mismatch("truncated", 2.0), Mismatch("masked", 2.0)
GRPO = Case(PolicyGradient(GroupNormalised(), PPOClip(0.2, 0.1), K3(), beta=0.04))
RATIOS = [0.25, 0.5, 0.8, 1.0, 1.6, 3.0]


def batch_with(ratios: list[float]) -> tuple[Any, Tensor]:
    """One row of six tokens whose π/μ are these, and log π; the token at 1 is not trained."""
    batch = random_batch((1,), (3,), longest=6, holes=((0, 1),))
    logp = torch.linspace(-3, -1, 6, dtype=torch.float64)[None]
    sampled = logp - torch.tensor([ratios], dtype=torch.float64).log()
    return batch.replace(logp_sampled=sampled.masked_fill(~batch.mask, math.nan)), logp


@pytest.mark.parametrize(
    ("mismatch", "expected", "cut"),
    [
        (TRUNCATED, [0.25, 1.0, 0.8, 1.0, 1.6, 2.0], [False, False, False, False, False, True]),
        (MASKED, [0.0, 1.0, 0.8, 1.0, 1.6, 0.0], [True, False, False, False, False, True]),
        (Mismatch("masked", 4.0001), [0.25, 1.0, 0.8, 1.0, 1.6, 3.0], [False] * 6),
    ],
)
def test_weights_by_hand(mismatch: Mismatch, expected: list[float], cut: list[bool]) -> None:
    batch, logp = batch_with(RATIOS)
    weight, where = mismatch.weigh(batch, logp)
    assert weight[0].tolist() == pytest.approx(expected)
    assert where[0].tolist() == cut
    moved, _ = mismatch.weigh(batch.replace(logp_old=logp), logp + 0.7)  # π_old decides, not where π_θ is now
    assert torch.equal(moved, weight)


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=8), st.floats(1, 100))
def test_weights_are_bounded_and_equal_the_ratio_where_they_are_not_cut(logs: list[float], cap: float) -> None:
    log_ratio = torch.tensor(logs, dtype=torch.float64)
    truncated, masked = ops.truncated_mismatch(log_ratio, cap), ops.masked_mismatch(log_ratio, cap)
    assert bool((truncated <= cap).all()) and bool((truncated > 0).all())
    kept = masked > 0
    assert torch.equal(masked[kept], log_ratio.exp()[kept])
    assert bool((masked[kept] <= cap * (1 + 1e-12)).all()) and bool((masked[kept] >= (1 - 1e-12) / cap).all())
    assert torch.equal(kept, log_ratio.abs() <= math.log(cap))


def test_without_log_probabilities_there_is_nothing_to_weigh_by() -> None:
    batch, logp = batch_with(RATIOS)
    with pytest.raises(RunError, match="the batch has none"):
        TRUNCATED.weigh(batch.replace(logp_sampled=None), logp)


@pytest.mark.parametrize("off_policy", [False, True])
@pytest.mark.parametrize("mismatch", [TRUNCATED, MASKED])
def test_the_gradient_is_that_of_weights_multiplied_once(mismatch: Mismatch, off_policy: bool) -> None:
    """Against the loop without a correction on a batch whose weight is the corrected one already."""
    case = replace(GRPO, off_policy=off_policy)
    gradients, tallies = [], []
    for corrected in (False, True):
        learner = make_learner(case, Split(tokens=30), 1)
        batch = learner.annotate(make(case))
        logp = learner.policy(batch)[0].detach()
        noise = torch.linspace(-1.5, 1.5, logp.numel(), dtype=torch.float64).view(logp.shape)
        batch = batch.replace(logp_sampled=(logp if batch.logp_old is None else batch.logp_old) - noise)
        weight = case.algorithm.reduction(batch.mask, batch.group).double()
        factor, cut = mismatch.weigh(batch, logp)
        learner.correction = mismatch if corrected else None
        tally = Tally(None)
        learner.accumulate(batch.replace(weight=weight if corrected else weight * factor), tally, 0)
        gradients.append(torch.cat([p.grad.flatten() for p in learner.optimizer.master if p.grad is not None]))
        tallies.append(tally.metrics(learner.processes))
    assert gradients[0].norm() > 0
    assert (gradients[0] - gradients[1]).norm() < 1e-12 * gradients[0].norm()
    assert tallies[0]["mismatch/mean"] is None and tallies[0]["mismatch/cut_share"] is None
    assert tallies[1]["mismatch/mean"] == pytest.approx(float(factor[batch.mask].mean()))
    assert tallies[1]["mismatch/cut_share"] == pytest.approx(float(cut[batch.mask].double().mean()))
    assert tallies[1]["mismatch/cut_share"]


def test_the_native_sampler_is_not_corrected_and_vllm_is() -> None:
    assert Native().correction is None
    assert VLLM().correction == TRUNCATED
    assert VLLM(mismatch="masked", mismatch_cap=3.0).correction == Mismatch("masked", 3.0)
    assert VLLM(mismatch="none").correction is None


class FromElsewhere(Native):
    """The native sampler with a correction, as if its draws were another engine's."""

    correction = TRUNCATED


@pytest.mark.parametrize(("method", "corrected"), [("grpo", True), ("rft", False)])
def test_only_what_the_policy_itself_drew_is_corrected(
    method: str, corrected: bool, tiny_dir: Path, tmp_path: Path
) -> None:
    plan = replace(make_plan(tiny_dir, tmp_path / "run", method, "trainer.steps=1"), rollout=FromElsewhere())
    run(plan)
    (record,) = lines(tmp_path / "run" / "metrics.jsonl")
    assert record["sampler_gap"] is not None
    mean = record["mismatch/mean"]
    assert mean == pytest.approx(1, abs=1e-3) if corrected else mean is None

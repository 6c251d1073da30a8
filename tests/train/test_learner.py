"""What the loop refuses, what it measures, and at what rate it goes."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from learners import LOTS, Case, Split, make, make_learner
from torch import Tensor

from rlft.algorithms import K3, Distill, GroupNormalised, PolicyGradient, PPOClip, WeightedLikelihood
from rlft.base import Batch, RunError, UserError
from rlft.models.policy import Policy
from rlft.train.schedule import schedule

RFT = Case(WeightedLikelihood())
DISTILL = Case(Distill())
GRPO = Case(PolicyGradient(GroupNormalised(), PPOClip(0.2, 0.1), K3(), beta=0.04))


class Broken(Policy):
    """Gives log π that is not a number in one row of the whole batch."""

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        logp, entropy = super().forward(batch)
        assert batch.row is not None
        return logp.masked_fill((batch.row == 4)[:, None] & batch.mask, float("nan")), entropy


@pytest.mark.parametrize("split", [Split(), Split(atoms=1), Split(tokens=20)])
def test_a_log_probability_that_is_no_number_is_refused_with_step_and_row(split: Split) -> None:
    learner = make_learner(RFT, split, 1)
    before = [m.detach().clone() for m in learner.optimizer.master]
    learner.policy.__class__ = Broken
    with pytest.raises(RunError, match=r"step 7: the log π of rows \[4\] of the batch is not finite"):
        learner.update(make(RFT), 7)
    assert all(map(torch.equal, before, learner.optimizer.master))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_coefficient_that_is_no_number_is_refused_with_step_and_rows(value: float) -> None:
    learner, batch = make_learner(RFT, Split(), 2), make(RFT)
    reward = batch.reward.clone()
    reward[[2, 5]] = value
    with pytest.raises(
        RunError, match=r"step 3: the coefficient of rows \[(2, 5|5, 2|2|5)\] of the batch is not finite"
    ):
        learner.update(learner.annotate(batch.replace(reward=reward)), 3)


def test_a_gradient_that_overflows_changes_no_weight() -> None:
    learner, batch = make_learner(RFT, Split(), 1), make(RFT)
    before = [m.detach().clone() for m in learner.optimizer.master]
    with pytest.raises(RunError, match=r"step 2: the gradient's norm is (inf|nan); no weight was changed.*rlft resume"):
        learner.update(learner.annotate(batch.replace(reward=1e307 * batch.reward)), 2)
    assert all(map(torch.equal, before, learner.optimizer.master))


def test_the_metrics_are_those_of_the_tokens() -> None:
    """Held against sums over the whole batch, off-policy so that there is something to clip."""
    case = replace(GRPO, off_policy=True)
    learner = make_learner(case, Split(tokens=20), 1)
    batch = learner.annotate(make(case))
    weighed = batch.replace(weight=case.algorithm.reduction(batch.mask, batch.group).double())
    logp, entropy = learner.policy(batch)
    gc = case.algorithm.coefficient(weighed, logp.detach())[batch.mask]
    assert batch.logp_old is not None and batch.logp_ref is not None
    ratio = (logp - batch.logp_old)[batch.mask].exp()
    away = (batch.logp_ref - logp)[batch.mask]
    metrics = learner.update(batch, 0)
    expected: dict[str, Any] = {
        "gc/mean_abs": gc.abs().mean(), "gc/share_positive": (gc > 0).double().mean(),
        "gc/share_negative": (gc < 0).double().mean(), "gc/share_zero": (gc == 0).double().mean(),
        "entropy": entropy[batch.mask].mean(), "kl": (away.exp() - away - 1).mean(),
        "ratio/clip_low": (ratio < 0.8).double().mean(), "ratio/clip_high": (ratio > 1.1).double().mean(),
        "ratio/min": ratio.min(), "ratio/max": ratio.max(),
    }  # fmt: skip
    assert {name: metrics[name] for name in expected} == {n: pytest.approx(float(v)) for n, v in expected.items()}
    assert metrics["ratio/clip_low"] and metrics["ratio/clip_high"]
    assert metrics["sampler_gap"] is None and metrics["log_ratio"] is None


def test_of_completions_that_are_not_its_own_the_log_ratio_to_the_reference_is_measured_and_no_kl() -> None:
    learner = replace(make_learner(GRPO, Split(tokens=20), 1), on_policy=False)
    batch = learner.annotate(make(GRPO))
    assert batch.logp_ref is not None
    expected = float((learner.policy(batch)[0].detach() - batch.logp_ref)[batch.mask].mean())
    metrics = learner.update(batch, 0)
    assert metrics["log_ratio"] == pytest.approx(expected) and abs(expected) > 0.01
    assert metrics["kl"] is None


def test_the_kl_to_a_teacher_is_the_mean_log_ratio() -> None:
    learner = make_learner(DISTILL, Split(tokens=20), 1)
    batch = learner.annotate(make(DISTILL))
    logp = learner.policy(batch)[0].detach()
    assert batch.logp_teacher is not None and batch.teacher_prompt_ids is None
    expected = float((logp - batch.logp_teacher)[batch.mask].mean())
    metrics = learner.update(batch, 0)
    assert metrics["kl_teacher"] == pytest.approx(expected) and abs(expected) > 0.01
    assert metrics["kl"] is None and metrics["gc/share_zero"] == 0


def test_there_is_no_clip_share_where_nothing_clips() -> None:
    learner = make_learner(RFT, Split(), 1)
    metrics = learner.update(learner.annotate(make(RFT)), 0)
    assert metrics["ratio/clip_low"] is None and metrics["ratio/clip_high"] is None and metrics["kl"] is None
    whole_rows = PolicyGradient(GroupNormalised(), PPOClip(0.2, 0.2, "sequence"), K3(), beta=0.0)
    assert whole_rows.clip_range is None, "the ratios it clips are not those of tokens"
    assert GRPO.algorithm.clip_range == (0.8, 1.1)


def test_a_clipped_gradient_has_the_norm_before_clipping_in_the_metrics() -> None:
    learner = make_learner(RFT, Split(), 1)
    batch = learner.annotate(make(RFT))
    norms: list[Any] = []
    for factor in (1, 1000):
        learner = make_learner(RFT, Split(), 1)
        norms.append(learner.update(batch.replace(reward=factor * batch.reward), 0)["grad_norm"])
    assert norms[1] == pytest.approx(1000 * norms[0]) and norms[1] > learner.max_norm


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_dropout_is_on_while_the_policy_learns_and_never_else(dropout: float, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = make_learner(GRPO, Split(), 2)
    learner.dropout = dropout > 0
    seen: list[tuple[bool, bool]] = []
    forward = Policy.forward

    def spy(self: Policy, batch: Batch) -> tuple[Tensor, Tensor]:
        seen.append((self.model.training, torch.is_grad_enabled()))
        return forward(self, batch)

    monkeypatch.setattr(Policy, "forward", spy)
    learner.update(learner.annotate(make(GRPO)), 0)
    assert {training for training, learns in seen if not learns} == {False}
    assert {training for training, learns in seen if learns} == {dropout > 0}
    assert not learner.policy.model.training


def test_more_mini_batches_than_atoms_is_said() -> None:
    learner = make_learner(RFT, Split(LOTS), 1)
    learner.mini_batches = 99
    with pytest.raises(UserError, match=r"trainer\.mini_batches=99: the batch has 11 completions"):
        learner.update(learner.annotate(make(RFT)), 0)


@pytest.mark.parametrize(
    ("kind", "factors"),
    [
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]),
        ("cosine", [0.5, 1.0, 1.0, 0.8535533905932737, 0.5, 0.14644660940672627, 0.0]),
    ],
)
def test_a_schedule_after_its_warm_up(kind: Any, factors: list[float]) -> None:
    """Two steps of warm-up, then down to 0 at step 6; (1 + cos(π/4))/2 = 0.85355."""
    assert [schedule(kind, 2, 6)(step) for step in range(7)] == pytest.approx(factors)

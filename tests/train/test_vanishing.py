"""What has no coefficient is not run, and nothing else changes: gradient, weights, steps, and shares of the tokens."""

from dataclasses import dataclass, replace

import pytest
import torch
from learners import Case, Split, gradient, make, make_learner
from torch import Tensor

from rlft.algorithms import DPO, K3, GroupCentred, GroupNormalised, PolicyGradient, PPOClip, WeightedLikelihood
from rlft.base import Algorithm, Batch, Processes
from rlft.models.policy import Policy
from rlft.train.metrics import Tally

CLIP = PPOClip(0.2, 0.2)
RFT = Case(WeightedLikelihood(), sparse=True)
GRPO = Case(PolicyGradient(GroupNormalised(), CLIP, K3(), 0.0), sparse=True)
DR_GRPO = Case(PolicyGradient(GroupCentred(), CLIP, K3(), 0.0), sparse=True)
PULLED = Case(PolicyGradient(GroupNormalised(), CLIP, K3(), 0.04), sparse=True)
CASES = {"rft": RFT, "grpo, β=0": GRPO, "dr_grpo": DR_GRPO, "dr_grpo off-policy": replace(DR_GRPO, off_policy=True)}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The rows of every batch that goes through the policy with a gradient."""
    rows: list[list[int]] = []
    forward = Policy.forward

    def spy(self: Policy, batch: Batch) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled():
            assert batch.row is not None
            rows.append(sorted(batch.row.tolist()))
        return forward(self, batch)

    monkeypatch.setattr(Policy, "forward", spy)
    return rows


def run_everything(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(case.algorithm), "vanishes", Algorithm.vanishes)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("split", [Split(), Split(atoms=2), Split(tokens=20)], ids=["whole", "pairs", "20 tokens"])
def test_the_gradient_is_what_it_is_with_every_row(
    name: str, split: Split, ran: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    skipped = gradient.__wrapped__(case, split)
    wanted = [0, 1, 2, 3, 5] if name == "rft" else [5, 6]  # the right answers; the group with both
    assert sorted(row for rows in ran for row in rows) == wanted
    run_everything(case, monkeypatch)
    ran.clear()
    whole = gradient.__wrapped__(case, split)
    assert sorted(row for rows in ran for row in rows) == list(range(11))
    assert whole.abs().max() > 1e-3
    torch.testing.assert_close(skipped, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_so_are_the_weights_after_several_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metrics, which `weights` adds, are not: entropy and ratios are of the tokens that were run."""
    case = CASES[name]
    learners = [make_learner(case, Split(), 2) for _ in range(2)]
    found: list[dict[str, float | None]] = []
    for learner in learners:
        found.append(learner.update(learner.annotate(make(case)), 0))
        run_everything(case, monkeypatch)
    for ours, theirs in zip(*(learner.optimizer.master for learner in learners), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    same = [key for key in found[0] if key.startswith("gc/")] + ["grad_norm"]
    assert len(same) == 5
    assert {key: found[0][key] for key in same} == pytest.approx({key: found[1][key] for key in same})
    assert found[0]["entropy"] != found[1]["entropy"]


def test_a_kl_term_keeps_every_row(ran: list[list[int]]) -> None:
    gradient.__wrapped__(PULLED, Split())
    assert ran == [list(range(11))]


@pytest.mark.parametrize("case", [RFT, DR_GRPO], ids=["rft", "dr_grpo"])
def test_a_batch_without_any_coefficient_is_a_step_without_gradient(case: Case, ran: list[list[int]]) -> None:
    learner = make_learner(case, Split(), 1)
    before = [m.detach().clone() for m in learner.optimizer.master]
    batch = make(case)
    metrics = learner.update(learner.annotate(batch.replace(reward=torch.zeros_like(batch.reward))), 0)
    assert ran == [] and metrics["grad_norm"] == 0 and metrics["entropy"] is None
    assert metrics["gc/share_zero"] == 1 and metrics["gc/mean_abs"] == 0 and metrics["ratio/min"] is None
    state = learner.optimizer.adamw.state_dict()["state"]
    assert len(state) == len(before) and all(s["step"] == 1 and not s["exp_avg"].any() for s in state.values())
    assert learner.scheduler.last_epoch == 1
    for old, new in zip(before, learner.optimizer.master, strict=True):
        torch.testing.assert_close(new.detach(), old * (1 - 1e-2 * 0.01), rtol=0, atol=1e-15)  # weight decay alone


@dataclass(frozen=True)
class HalfAPair(DPO):
    """Says of the second row of every pair, and of both of the first pair, that they vanish."""

    def vanishes(self, batch: Batch) -> Tensor:
        assert batch.row is not None
        return (batch.row % 2 == 1) | (batch.row < 2)


def test_a_pair_is_run_whole_or_not_at_all(ran: list[list[int]]) -> None:
    case = Case(HalfAPair(0.1))
    for split in (Split(), Split(tokens=20)):
        gradient.__wrapped__(case, split)
        assert sorted(row for rows in ran for row in rows) == list(range(2, 10))
        assert all(len(rows) % 2 == 0 for rows in ran)
        ran.clear()


def test_shares_are_of_all_trained_tokens_and_means_of_those_that_were_run() -> None:
    """Five tokens were run, with |GC| 2, 2, 1, 0, 0 and entropies of 0.5; fifteen were not."""
    batch = make(RFT).rows(torch.tensor([10])).replace(logp_ref=None, logp_old=None)
    mask = torch.zeros_like(batch.mask)
    mask[0, :5] = True
    gc = torch.zeros(mask.shape, dtype=torch.float64)
    gc[0, :3] = torch.tensor([2.0, -2.0, 1.0])
    tally = Tally(None)
    tally.add(batch.replace(mask=mask), torch.zeros_like(gc), torch.full_like(gc, 0.5) * mask, gc)
    tally.skip(7)
    tally.skip(8)
    metrics = tally.metrics(Processes())
    assert metrics["gc/mean_abs"] == 5 / 20 and metrics["gc/share_zero"] == pytest.approx(17 / 20)
    assert metrics["gc/share_positive"] == 2 / 20 and metrics["gc/share_negative"] == 1 / 20
    assert metrics["entropy"] == 0.5

"""The controller of the KL: what it does to β, whose β it takes, and that a resume goes on with it."""

from pathlib import Path

import pytest
import torch
from learners import Case, Split, make, make_learner
from runs import assert_same_run, lines, make_plan, run, state

from rlft.algorithms import K3, Formula, GroupNormalised, KLInReward, PolicyGradient, PPOClip
from rlft.base import Algorithm, UserError
from rlft.train.kl_control import KLControl

CLIP = PPOClip(0.2, 0.2)
GRPO = PolicyGradient(GroupNormalised(), CLIP, K3(), 0.04)
CONTROL = ["trainer.kl_target=0.001", "trainer.kl_horizon=30"]


def test_beta_changes_by_a_fifth_at_most_however_short_the_horizon() -> None:
    for kl, beta in ((0.0, 0.04 * 0.8), (5.0, 0.04 * 1.2)):
        assert KLControl(target=0.05, horizon=10).adapt(GRPO, kl, 64).kl_weight == pytest.approx(beta)


@pytest.mark.parametrize(
    ("kl", "beta"),
    [
        (0.05, 0.04),  # on target
        (0.055, 0.04 * 1.02),  # e = 0.1, B/horizon = 1/5
        (0.045, 0.04 * 0.98),
        (5.0, 0.04 * 1.04),  # e is cut at 0.2
        (0.0, 0.04 * 0.96),
        (None, 0.04),
    ],
)
def test_beta_follows_the_error_and_no_more_than_a_fifth_of_it(kl: float | None, beta: float) -> None:
    adapted = KLControl(target=0.05, horizon=40).adapt(GRPO, kl, 8)
    assert adapted.kl_weight == pytest.approx(beta, rel=1e-12)
    assert GRPO.beta == 0.04 and isinstance(adapted, PolicyGradient) and adapted.surrogate == CLIP


@pytest.mark.parametrize(
    "algorithm",
    [
        GRPO,
        PolicyGradient(GroupNormalised(), CLIP, KLInReward(), 0.04),
        Formula("advantage - beta * log_ratio_ref", beta=0.04),
    ],
    ids=["in the coefficient", "in the reward", "in a formula"],
)
def test_the_next_batch_has_the_new_beta(algorithm: Algorithm) -> None:
    """The KL at first is that of the random adapter, far above the target: e = 0.2, and B/horizon = 1/4."""
    learner, batch = make_learner(Case(algorithm), Split(), 1), make(Case(algorithm))
    learner.kl_control = KLControl(target=1e-9, horizon=4 * len(batch))
    seen = [learner.update(learner.annotate(batch), step) for step in (0, 1)]
    assert [metrics["kl/beta"] for metrics in seen] == [0.04, pytest.approx(0.04 * 1.05)]
    assert learner.algorithm.kl_weight == pytest.approx(0.04 * 1.05**2)
    plain = make_learner(Case(algorithm), Split(), 1)
    kept = [plain.update(plain.annotate(batch), step) for step in (0, 1)]
    assert "kl/beta" not in kept[0] and kept[0]["grad_norm"] == seen[0]["grad_norm"]
    assert kept[1]["grad_norm"] != seen[1]["grad_norm"], "the coefficient did not change with β"


def test_a_resumed_run_goes_on_with_its_beta(tiny_dir: Path, tmp_path: Path) -> None:
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    run(make_plan(tiny_dir, whole, "grpo", "trainer.steps=4", *CONTROL))
    run(make_plan(tiny_dir, halved, "grpo", "trainer.steps=4", "trainer.stop_after=2", *CONTROL))
    run(make_plan(tiny_dir, halved, "grpo", "trainer.steps=4", *CONTROL), resume=True)
    assert_same_run(halved, whole)
    betas = [record["kl/beta"] for record in lines(whole / "metrics.jsonl")]
    assert betas[0] == 0.04 and len(set(betas)) == 4
    assert state(whole)["/session/kl_weight"] not in betas, "that of the step to come"


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("dpo", [], r"trainer.kl_target=0.1: algorithm dpo has no beta that weighs a KL.*type trainer.kl_target=null"),
        ("sft", [], r"algorithm sft has no beta that weighs a KL to π_ref.*algorithm=grpo"),
        ("grpo", ["algorithm.beta=0"], r"algorithm grpo has a beta of 0.*type .*algorithm.beta=0.04, to start from"),
        (
            "grpo",
            ["data=offline"],
            r"a KL is measured on samples of the policy.*type trainer.kl_target=null, or data=onl",
        ),
    ],
)
def test_an_algorithm_without_such_a_beta_is_refused(
    method: str, changes: list[str], message: str, tiny_dir: Path, tmp_path: Path
) -> None:
    plan = make_plan(tiny_dir, tmp_path, method, "trainer.kl_target=0.1", *changes)
    with pytest.raises(UserError, match=message):
        plan.check()


@pytest.mark.parametrize(
    ("word", "key"), [("trainer.kl_target=0", "kl_target"), ("trainer.kl_horizon=0", "kl_horizon")]
)
def test_a_target_or_horizon_that_is_none_is_refused(word: str, key: str, tiny_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"trainer\.{key}=0(\.0)?: expected a number (above 0|of at least 1)"):
        make_plan(tiny_dir, tmp_path, "grpo", word)


def test_the_weights_of_completions_say_how_many_count() -> None:
    """Of rows whose log π_old is log π less a given number: log-ratios 0, log 2 and log 4 a row, spread over its
    tokens, so that (Σρ)²/Σρ²/B = (1 + 2 + 4)²/(1 + 4 + 16)/3 for three rows of each."""
    learner, batch = make_learner(Case(GRPO), Split(tokens=30), 1), make(Case(GRPO))
    batch = batch.rows(torch.arange(9))
    annotated = learner.annotate(batch)
    logp, _ = learner.policy(annotated)
    shift = torch.tensor([0.0, 2.0, 4.0] * 3, dtype=torch.float64).clamp(min=1).log()
    share = shift / batch.mask.sum(1)
    metrics = learner.update(annotated.replace(logp_old=logp.detach() - share[:, None]), 0)
    assert metrics["ess"] == pytest.approx(49 / 21 / 3)
    on_policy = make_learner(Case(GRPO), Split(), 1)
    assert on_policy.update(on_policy.annotate(batch), 0)["ess"] == 1


def test_a_run_on_pairs_logs_its_log_ratio_and_no_kl(tiny_dir: Path, tmp_path: Path) -> None:
    run(make_plan(tiny_dir, tmp_path, "dpo", "trainer.steps=2"))
    for record in lines(tmp_path / "metrics.jsonl"):
        assert record["kl"] is None and 1e-6 < abs(record["log_ratio"]) < 1

"""One step's effect on completions: to first order, as measured, and taken back."""

from collections.abc import Callable

import pytest
import torch
from learners import ADAPTED, LOTS, Case, Split, make, make_learner
from tiny import direct, tiny_model, with_adapter
from torch import Tensor

from rlft.algorithms import DPO, K3, GroupNormalised, PolicyGradient, PPOClip
from rlft.base import Batch, Completion
from rlft.models.policy import Policy
from rlft.theory.explain import Effect, coefficients, one_step
from rlft.theory.explain.explanation import pieces
from rlft.train.loop import Learner
from rlft.train.weights import trained_parameters

GRPO = PolicyGradient(GroupNormalised(), PPOClip(0.2, 0.2), K3(), beta=0.04)


def moving(policy: Policy, batch: Batch, weight: Tensor, size: float) -> tuple[Callable[[], None], list[Tensor]]:
    """A plain gradient step along Σ weight · ∇log π, with log π by transformers alone; and that direction."""
    parameters = trained_parameters(policy)
    logp, _ = direct(policy.model, batch)
    ascent = torch.autograd.grad((weight * logp).sum(), parameters)

    def step() -> None:
        with torch.no_grad():
            for p, g in zip(parameters, ascent, strict=True):
                p.add_(size * g)

    return step, list(ascent)


def test_the_prediction_is_the_inner_product_and_what_is_left_is_of_second_order() -> None:
    policy = Policy(with_adapter(tiny_model(), target_modules=ADAPTED), print)
    batch, parameters = make(Case(GRPO)), trained_parameters(policy)
    weight = torch.randn(batch.mask.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    before = [p.detach().clone() for p in parameters]
    left: list[Tensor] = []
    for size in (1e-4, 1e-5):
        step, ascent = moving(policy, batch, weight, size)
        effect = one_step(policy, batch, parameters, LOTS, step)
        assert all(torch.equal(p, old) for p, old in zip(parameters, before, strict=True))
        for row in range(len(batch)):
            logp, _ = direct(policy.model, batch)
            own = torch.autograd.grad(logp[row].sum(), parameters)
            expected = size * sum(float((g * a).sum()) for g, a in zip(own, ascent, strict=True))
            assert float(effect.predicted[row]) == pytest.approx(expected, rel=1e-6, abs=1e-12)
        left.append(effect.measured - effect.predicted)
    # A tenth of the step leaves a hundredth of the error.
    assert float(left[0].norm() / left[1].norm()) == pytest.approx(100, rel=0.1)
    assert effect.agreement == 1


def stepping(learner: Learner, batch: Batch) -> Effect:
    return one_step(learner.policy, batch, learner.optimizer.parameters, LOTS, lambda: learner.update(batch, 0))


@pytest.mark.parametrize("algorithm", [GRPO, DPO(beta=0.5)], ids=["grpo", "dpo"])
def test_the_trainer_s_own_step_is_foretold(algorithm: PolicyGradient | DPO) -> None:
    case = Case(algorithm)
    errors: list[float] = []
    for size in (1e-4, 1e-5):
        learner = make_learner(case, Split(), passes=1)
        learner.optimizer.adamw.param_groups[0]["lr"] = size
        effect = stepping(learner, learner.annotate(make(case)))
        assert effect.agreement is not None and effect.agreement >= 0.9
        errors.append(float((effect.measured - effect.predicted).norm() / effect.predicted.norm()))
    assert errors[1] < 0.15 * errors[0] < 0.15 * 0.05


def test_coefficients_are_those_of_the_step() -> None:
    learner = make_learner(Case(GRPO), Split(), passes=1)
    batch = learner.annotate(make(Case(GRPO)))
    with torch.no_grad():
        logp, _ = learner.policy(batch)
    found = coefficients(GRPO, batch, logp)
    assert torch.equal(found.weight, GRPO.reduction(batch.mask, batch.group).double())
    assert torch.equal(found.gc, sum(found.terms.values(), torch.zeros(())))
    assert {value.shape for value in (found.gc, *found.terms.values(), *found.factors.values())} == {batch.mask.shape}


def test_agreement_leaves_out_what_does_not_move() -> None:
    effect = Effect(torch.tensor([1.0, -1.0, 0.0, 0.0]), torch.tensor([2.0, 1.0, 0.0, -1.0]))
    assert effect.agreement == pytest.approx(1 / 3)
    assert Effect(torch.zeros(2), torch.zeros(2)).agreement is None


class Bytes:
    """Tokens that are bytes; 0 is special and has no text."""

    def text(self, token_ids: list[int]) -> str:
        return bytes(token for token in token_ids if token).decode(errors="replace")


def test_tokens_become_pieces_of_text() -> None:
    ids = (*"aé".encode(), 0)
    assert pieces(Completion(ids, "aé"), Bytes()) == ["a", "", "é", "■"]  # type: ignore[arg-type]
    assert pieces(Completion(ids[:2], "a", finished=False), Bytes()) == ["a", ""]  # type: ignore[arg-type]

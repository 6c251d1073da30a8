"""The checks of `rlft verify` find what is wrong, and what is right passes them."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from rlft.algorithms import (
    DPO,
    K3,
    ConstantLength,
    Distill,
    Formula,
    GroupCentred,
    GroupNormalised,
    LeaveOneOut,
    MeanRatio,
    NoKL,
    NoSurrogate,
    PolicyGradient,
    PPOClip,
    Reduction,
    SequenceMean,
    SequenceSum,
    Sum,
    TokenMean,
    WeightedLikelihood,
)
from rlft.base import Algorithm, Batch, UserError
from rlft.cli.main import main
from rlft.theory.proof import Proof, prove
from rlft.theory.proof.enumerable import TEACHER, Enumerable, completions, steps

CLIP = PPOClip(0.2, 0.2)


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Fewer random batches, but where the whole shelf is proved."""
    if "shelf" not in request.node.name:
        monkeypatch.setattr("rlft.theory.proof.checks.SEEDS", range(4))


def found(algorithm: Algorithm) -> dict[str, bool]:
    return {check.name: check.holds for check in prove("m", algorithm).checks}


def test_the_model_is_a_model() -> None:
    model = Enumerable.draw()
    assert len(set(completions())) == 7 and float(model.probability.sum()) == pytest.approx(1)
    # By hand: P(first word, then the end) and its reward.
    table = model.logits.softmax(1)
    row = completions().index((0, 2))
    assert float(model.probability[row]) == pytest.approx(float(table[0, 0] * table[1, 2]))
    assert (
        steps((1, 0)) == [(0, 1), (2, 0)] and model.reward[row] == 1 and model.reward[completions().index((0, 0))] == 0
    )


def test_the_gradient_of_the_expected_reward_is_autograd_s() -> None:
    model = Enumerable.draw()
    logits = model.logits.clone().requires_grad_()
    expected = Enumerable(logits, model.reward).probability @ model.reward
    (gradient,) = torch.autograd.grad(expected, logits)
    assert torch.allclose(model.gradient(model.reward), gradient.flatten(), atol=1e-14)
    assert not model.gradient(torch.ones(7)).abs().gt(1e-15).any(), "a baseline has no expectation"


def test_known_expectations() -> None:
    """The closed forms of the papers, for w = m/B: ∇E[r]; (G-1)/G of it; (1 - (1-p)^(G-1))/p of it."""
    model = Enumerable.draw()
    gain, p = model.gradient(model.reward), float(model.probability @ model.reward)
    for part, factor in (
        (LeaveOneOut(), 1.0),
        (GroupCentred(), 2 / 3),
        (MeanRatio(), (1 - (1 - p) ** 2) / p),
    ):
        got = model.expectation(PolicyGradient(part, NoSurrogate(), NoKL(), 0.0, SequenceSum()), 3)
        assert torch.allclose(got, factor * gain, atol=1e-9)


@pytest.mark.parametrize("reduction", [Sum(), SequenceSum(), SequenceMean()], ids=str)
@pytest.mark.parametrize(
    "part", [GroupNormalised(), GroupNormalised(scale="none"), GroupCentred(), LeaveOneOut(), MeanRatio()], ids=str
)
def test_every_advantage_comes_to_its_closed_form(part: Any, reduction: Reduction) -> None:
    proof = prove("m", PolicyGradient(part, CLIP, K3(), 0.04, reduction))
    (check,) = (check for check in proof.checks if check.name == "expectation")
    assert check.error is not None and check.holds and proof.holds


def test_an_unbiased_method_goes_along_the_gradient() -> None:
    proof = prove("rloo", PolicyGradient(LeaveOneOut(), CLIP, NoKL(), 0.0, SequenceSum()))
    assert proof.angle == pytest.approx(0, abs=1e-4)
    biased = prove("grpo", PolicyGradient(GroupNormalised(), CLIP, NoKL(), 0.0, SequenceMean()))
    assert biased.angle is not None and 0.5 < biased.angle < 10
    assert prove("none", Formula("0 * reward")).angle is None


def test_an_entropy_bonus_is_the_gradient_of_the_entropy_of_the_states_visited() -> None:
    """Σ over prefixes of how often they are visited, held fixed, times ∇H; for two completions with w = m twice."""
    model = Enumerable.draw()
    bonus, without = (
        model.expectation(PolicyGradient(LeaveOneOut(), NoSurrogate(), NoKL(), 0.0, Sum(), entropy), 2)
        for entropy in (0.3, 0.0)
    )
    visits = torch.zeros(len(model.logits), dtype=torch.float64)
    for chance, completion in zip(model.probability, completions(), strict=True):
        for prefix, _ in steps(completion):
            visits[prefix] += chance
    logits = model.logits.clone().requires_grad_()
    logp = logits.log_softmax(1)
    (gradient,) = torch.autograd.grad(-(visits[:, None] * logp.exp() * logp).sum(), logits)
    assert torch.allclose(bonus - without, 2 * 0.3 * gradient.flatten(), atol=1e-12) and gradient.abs().max() > 0.01


def test_the_note_s_divergence_is_a_baseline() -> None:
    """KL(π(·|q, o_<t) ‖ π_ref) depends on the state alone: with w = m it moves nothing in expectation."""
    model = Enumerable.draw()
    kl = model.divergence(Enumerable.draw(seed=99))
    assert kl.max() > 0.1 and kl[completions().index((2,))][1] == 0
    with_kl, without = (
        model.expectation(Formula("advantage - beta * kl_full", beta=beta, reduction=Sum()), 3) for beta in (1.0, 0.0)
    )
    assert torch.allclose(with_kl, without, atol=1e-12) and without.abs().max() > 0.01
    k3, k2 = (
        model.expectation(Formula(f"advantage + beta * ({pull})", beta=1.0, reduction=Sum()), 3)
        for pull in ("1 / ratio_ref - 1", "-log_ratio_ref")
    )
    assert (k3 - without).abs().max() > 0.01 and (k2 - without).abs().max() > 0.01, "the exact terms do"


@pytest.mark.parametrize(("reduction", "times"), [(Sum(), 2), (SequenceSum(), 1), (ConstantLength(4), 0.25)], ids=str)
def test_distillation_goes_down_the_kl_of_every_state(reduction: Reduction, times: float) -> None:
    """-Σ_s d(s)·∇KL(π(·|s) ‖ π_teacher(·|s)): ∂KL/∂logit_w = π_w·(log(π/π_teacher)_w - KL), d of a prefix being π of
    its word. The KL of whole completions has another gradient, that of the visits too."""
    model, teacher = Enumerable.draw(), Enumerable.draw(TEACHER)
    p, q = model.logits.softmax(1), teacher.logits.softmax(1)
    log_ratio = (p / q).log()
    slope = p * (log_ratio - (p * log_ratio).sum(1, keepdim=True))
    visits = torch.tensor([1.0, float(p[0, 0]), float(p[0, 1])], dtype=torch.float64)[:, None]
    expected = -(visits * slope).flatten()
    assert torch.allclose(-model.away_from(teacher), expected, atol=1e-14)
    found = model.expectation(Distill(reduction=reduction), 2)
    assert torch.allclose(found, times * expected, atol=1e-12) and expected.abs().max() > 0.1
    whole = model.gradient(-(model.logp - teacher.logp).sum(1))
    moved = (whole - expected).abs() > 1e-3
    assert moved[:3].all() and not moved[3:].any(), "the first word alone has states after it"


def test_what_is_enumerated_of_a_distillation(monkeypatch: pytest.MonkeyPatch) -> None:
    def enumerated(reduction: Reduction) -> tuple[bool, bool]:
        (check,) = (c for c in prove("m", Distill(reduction=reduction)).checks if c.name == "expectation")
        return check.error is not None, check.holds

    assert [enumerated(r) for r in (TokenMean(), Sum(), SequenceMean())] == [(True, True), (True, True), (False, True)]
    right = Distill.coefficient
    monkeypatch.setattr(Distill, "coefficient", lambda self, batch, logp: 1.001 * right(self, batch, logp))
    assert enumerated(TokenMean()) == (True, False)


@dataclass(frozen=True)
class Broken(WeightedLikelihood):
    """SFT, broken in one way."""

    way: str = ""

    def coefficient(self, batch: Batch, logp: Tensor) -> Tensor:
        gc = super().coefficient(batch, logp)
        match self.way:
            case "gradient":
                return 1.001 * gc
            case "split":
                return gc / len(batch)
            case "order":
                return gc * torch.arange(len(batch))[:, None]
            case "padding":
                return gc + 0 * logp.mean(1, keepdim=True)
            case "skipped":
                return gc + 1e-6
            case _:
                return gc

    def reduction(self, mask: Tensor, group: Tensor) -> Tensor:  # type: ignore[override]
        return SequenceMean()(mask, group) * (1.001 if self.way == "expectation" else 1)


@pytest.mark.parametrize("way", ["gradient", "split", "order", "padding", "skipped"])
def test_what_is_broken_is_found(way: str) -> None:
    holds = found(Broken(way=way))
    assert not holds[way]
    assert all(found(Broken()).values())


def test_a_wrong_expectation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sequence mean that is not what it says."""
    monkeypatch.setattr(SequenceMean, "__call__", lambda self, mask, group: TokenMean()(mask, group))
    assert not found(WeightedLikelihood())["expectation"]


def test_a_coefficient_of_ones_own_has_no_closed_form() -> None:
    @dataclass(frozen=True)
    class Own(WeightedLikelihood):
        def coefficient(self, batch: Batch, logp: Tensor) -> Tensor:
            return (batch.reward[:, None] - 0.5).expand_as(logp) * batch.mask

    (check,) = (check for check in prove("own", Own()).checks if check.name == "expectation")
    assert check.error is None and check.holds


def test_pairs_take_two_and_what_takes_none_is_refused() -> None:
    assert prove("dpo", DPO(beta=0.1)).holds

    @dataclass(frozen=True)
    class Never(WeightedLikelihood):
        def prepare(self, batch: Batch) -> Batch:
            raise UserError("never")

    with pytest.raises(UserError, match="never"):
        prove("never", Never())


def test_the_default_dtype_is_put_back() -> None:
    prove("sft", WeightedLikelihood())
    assert torch.get_default_dtype() == torch.float32


def verified(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    status = main(["verify", "--json", *words])
    return status, json.loads(capsys.readouterr().out)


def test_the_whole_shelf_holds(capsys: pytest.CaptureFixture[str]) -> None:
    status, result = verified(capsys, "all")
    assert status == 0 and result["status"] == "ok" and len(result["methods"]) >= 22
    proved = {m["name"] for m in result["methods"] if m["checks"][0]["error"] is not None}
    assert {m["name"] for m in result["methods"]} - proved == {"formula", "dpo_note", "ppo_note", "grpo_note"}, (
        "all others have an objective"
    )


def test_a_formula_is_held_against_its_objective(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["algorithm=formula", 'algorithm.coefficient="2*reward"']
    assert verified(capsys, *words, 'algorithm.objective="2*reward*logp"')[0] == 0
    status, result = verified(capsys, *words, 'algorithm.objective="reward*logp"')
    assert (status, result["failed"]) == (1, ["formula"])
    main(["verify", *words])
    shown = capsys.readouterr().out
    assert "– under gradient: no objective is stated" in shown and "– under expectation: no closed form" in shown


def test_a_sweep_is_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    status, result = verified(capsys, "algorithm=gspo,dpo")
    assert (status, [m["name"] for m in result["methods"]]) == (0, ["gspo", "dpo"])
    _, result = verified(capsys, "algorithm=dpo", "algorithm.beta=0.1,0.2")
    assert [m["name"] for m in result["methods"]] == ["dpo algorithm.beta=0.1", "dpo algorithm.beta=0.2"]
    _, result = verified(capsys, "recipe=sft_math")
    assert [m["name"] for m in result["methods"]] == ["sft"]


def test_a_miss_is_red_and_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def missed(name: str, algorithm: Algorithm) -> Proof:
        return prove(name, Broken(way="gradient"))

    monkeypatch.setattr("rlft.theory.proof.prove", missed)
    assert main(["verify", "algorithm=sft"]) == 1
    shown = capsys.readouterr().out
    assert "✗ 4e-0" in shown or "✗" in shown
    assert "does not hold: sft" in shown


def test_what_makes_no_sense_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "all", "recipe=sft_math"]) == 2
    assert "leave one of them away" in capsys.readouterr().err
    assert main(["verify", "grpo"]) == 2
    assert "takes `all`, or algorithm=NAME" in capsys.readouterr().err

"""Hyper-parameters are checked and named, formulas say what is on, and each recipe builds its method."""

import copy
import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlft import algorithms
from rlft.algorithms import (
    CISPO,
    DPO,
    GAE,
    IPO,
    K2,
    K3,
    KTO,
    ORPO,
    RPO,
    SAPO,
    ConstantLength,
    Distill,
    Formula,
    GroupNormalised,
    Hinge,
    KLInReward,
    LeaveOneOut,
    NoKL,
    NoSurrogate,
    PolicyGradient,
    PPOClip,
    RewardAdvantage,
    RobustDPO,
    SequenceSum,
    SimPO,
    Tapered,
    TokenWhitened,
    WeightedLikelihood,
)
from rlft.base import Algorithm, UserError

RECIPES = Path(__file__).parents[2] / "recipes" / "algorithm"
CLIP, INF, NAN = PPOClip(0.2, 0.2), float("inf"), float("nan")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DPO(beta=0.0), "algorithm.beta=0.0: expected a number above 0"),
        (lambda: DPO(beta=NAN), "algorithm.beta=nan: expected a number above 0"),
        (lambda: DPO(beta=0.1, label_smoothing=0.6), "algorithm.label_smoothing=0.6: .* of at least 0 and at most 0.5"),
        (lambda: IPO(beta=0.0), "algorithm.beta=0.0: expected a number above 0"),
        (lambda: Hinge(beta=0.0), "algorithm.beta=0.0: expected a number above 0"),
        (lambda: RobustDPO(beta=0.0, flipped=0.1), "algorithm.beta=0.0: expected a number above 0"),
        (lambda: RobustDPO(beta=0.1, flipped=0.5), "algorithm.flipped=0.5: .* of at least 0 and at most 0.49"),
        (lambda: RPO(beta=0.1, alpha=-1.0), "algorithm.alpha=-1.0"),
        (lambda: RPO(beta=0.0), "algorithm.beta=0.0"),
        (lambda: SimPO(beta=0.0, gamma=1.0), "algorithm.beta=0.0: expected a number above 0"),
        (lambda: SimPO(beta=1.0, gamma=-1.0), "algorithm.gamma=-1.0"),
        (lambda: ORPO(weight=-1.0), "algorithm.weight=-1.0"),
        (lambda: KTO(beta=0.0), "algorithm.beta=0.0: expected a number above 0"),
        (lambda: KTO(beta=0.1, good=-1.0), "algorithm.good=-1.0"),
        (lambda: KTO(beta=0.1, bad=-1.0), "algorithm.bad=-1.0"),
        (lambda: PPOClip(-0.1, 0.2), "algorithm.surrogate.eps_low=-0.1"),
        (lambda: PPOClip(0.1, NAN), "algorithm.surrogate.eps_high=nan"),
        (lambda: CISPO(-1.0, 0.2), "algorithm.surrogate.eps_low=-1.0"),
        (lambda: CISPO(1.0, -0.2), "algorithm.surrogate.eps_high=-0.2"),
        (lambda: SAPO(0.0, 1.0), "algorithm.surrogate.tau_positive=0.0: expected a number above 0"),
        (lambda: SAPO(1.0, 0.0), "algorithm.surrogate.tau_negative=0.0: expected a number above 0"),
        (lambda: GAE(1.1, 0.9, True), "algorithm.advantage.gamma=1.1"),
        (lambda: GAE(1.0, -0.1, True), "algorithm.advantage.lam=-0.1"),
        (lambda: GroupNormalised(delta=0.0), "algorithm.advantage.delta=0.0"),
        (lambda: ConstantLength(0), "algorithm.reduction.length=0"),
        (lambda: PolicyGradient(RewardAdvantage(), CLIP, K3(), -1.0), "algorithm.beta=-1.0"),
        (
            lambda: PolicyGradient(RewardAdvantage(), CLIP, K3(), 0.0, entropy=-0.1),
            "algorithm.entropy=-0.1: .*at least 0",
        ),
        (lambda: PolicyGradient(RewardAdvantage(), CLIP, NoKL(), 0.1), "algorithm.beta=0.1: .*type algorithm.beta=0"),
        (
            lambda: PolicyGradient(GAE(1.0, 1.0, True), PPOClip(0.2, 0.2, "sequence"), K3(), 0.0),
            "algorithm.surrogate: PPOClip .*GAE gives one per token.*algorithm.surrogate.level=token",
        ),
        (
            lambda: PolicyGradient(TokenWhitened(), Tapered(), K3(), 0.0),
            "algorithm.surrogate: Tapered .*TokenWhitened gives one per token",
        ),
    ],
)
def test_a_bad_setting_is_named(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize(
    ("part", "field", "message"),
    [
        (PPOClip(0.1, 0.2), "level", "algorithm.surrogate.level=word: expected one of token, sequence, geometric"),
        (GroupNormalised(), "scale", "algorithm.advantage.scale=word: expected one of group, batch, none"),
    ],
)
def test_a_bad_choice_is_named(part: Any, field: str, message: str) -> None:
    # Set from behind: while tests run, the annotation's own check would come before that of the class.
    part = copy.copy(part)
    object.__setattr__(part, field, "word")
    with pytest.raises(UserError, match=message):
        part.__post_init__()


def test_the_ends_of_the_ranges_are_allowed() -> None:
    assert DPO(beta=1e-9, label_smoothing=0.5).label_smoothing == 0.5
    assert PPOClip(0.0, INF).eps_high == INF and GAE(0.0, 1.0, False).lam == 1.0 and ConstantLength(1).length == 1


@pytest.mark.parametrize(
    ("algorithm", "formula"),
    [
        (WeightedLikelihood(), "GC = r, w = m/(|o|·B)"),
        (DPO(beta=0.1), "GC = ±β·σ(-βh), w = m/#pairs, h = Σ log(π/π_ref)(o⁺) - Σ log(π/π_ref)(o⁻)"),
        (
            DPO(beta=0.1, label_smoothing=0.1),
            "GC = ±β[(1-ε)·σ(-βh) - ε·σ(βh)], w = m/#pairs, h = Σ log(π/π_ref)(o⁺) - Σ log(π/π_ref)(o⁻)",
        ),
        (IPO(beta=0.1), "GC = ±2(1/(2β) - h), w = m/#pairs, h = Σ log(π/π_ref)(o⁺) - Σ log(π/π_ref)(o⁻)"),
        (Hinge(beta=0.1), "GC = ±β·1[βh < 1], w = m/#pairs, h = Σ log(π/π_ref)(o⁺) - Σ log(π/π_ref)(o⁻)"),
        (
            RobustDPO(0.1, 0.1),
            "GC = ±β[(1-ε)·σ(-βh) + ε·σ(βh)]/(1-2ε), w = m/#pairs, h = Σ log(π/π_ref)(o⁺) - Σ log(π/π_ref)(o⁻)",
        ),
        (RPO(beta=0.1), "GC = ±β·σ(-βh) + α/|o|·1[o⁺], w = m/#pairs, h = Σ log(π/π_ref)(o⁺) - Σ log(π/π_ref)(o⁻)"),
        (SimPO(2.0, 1.0), "GC = ±β·σ(γ - βh)/|o|, w = m/#pairs, h = mean log π(o⁺) - mean log π(o⁻)"),
        (
            ORPO(0.1),
            "GC = (1[o⁺] ± λ·σ(-l)/(1-P))/|o|, w = m/#pairs, P = exp(mean log π), l = log odds(o⁺) - log odds(o⁻)",
        ),
        (
            KTO(0.1),
            "GC = ±λ·β·p(1-p), w = m/B, p = σ(±β(q - z0)), q = Σ log(π/π_ref), z0 = max(0, mean q of mismatched)",
        ),
        (PolicyGradient(GroupNormalised(), CLIP, K3(), 0.04), "GC = Â·ρ·live(ρ) + β(π_ref/π - 1), w = m/(|o|·B)"),
        (
            PolicyGradient(GroupNormalised(), CLIP, K3(True), 0.04),
            "GC = Â·ρ·live(ρ) + β·ρ·(π_ref/π - 1), w = m/(|o|·B)",
        ),
        (PolicyGradient(GroupNormalised(), CLIP, K2(), 0.04), "GC = Â·ρ·live(ρ) + β·log(π_ref/π), w = m/(|o|·B)"),
        (PolicyGradient(GroupNormalised(), CLIP, K2(True), 0.04), "GC = Â·ρ·live(ρ) + β·ρ·log(π_ref/π), w = m/(|o|·B)"),
        (
            PolicyGradient(GroupNormalised(), CLIP, K3(), 0.04, entropy=0.01),
            "GC = Â·ρ·live(ρ) + β(π_ref/π - 1) - α·log π, w = m/(|o|·B)",
        ),
        (PolicyGradient(GroupNormalised(), CLIP, K3(), 0.0), "GC = Â·ρ·live(ρ), w = m/(|o|·B)"),
        (PolicyGradient(GroupNormalised(), CLIP, NoKL(), 0.0), "GC = Â·ρ·live(ρ), w = m/(|o|·B)"),
        (PolicyGradient(RewardAdvantage(), PPOClip(INF, INF), K3(), 0.0), "GC = Â·ρ, w = m/(|o|·B)"),
        (PolicyGradient(RewardAdvantage(), NoSurrogate(), K3(), 0.0), "GC = Â, w = m/(|o|·B)"),
        (
            PolicyGradient(LeaveOneOut(), PPOClip(0.2, 0.2, "sequence"), KLInReward(), 0.1, SequenceSum()),
            "GC = Â·s·live(s), w = m/B, s = Π_t ρ_t, r_t = r·1[last] - β·log(π_old/π_ref)",
        ),
        (
            PolicyGradient(GroupNormalised(), PPOClip(0.2, INF, "geometric"), K3(), 0.0),
            "GC = Â·s·live(s), w = m/(|o|·B), s = (Π_t ρ_t)^(1/|o|)",
        ),
        (
            PolicyGradient(GroupNormalised(), CISPO(1.0, 0.2), K3(), 0.0),
            "GC = Â·clip(ρ, 1-ε_low, 1+ε_high), w = m/(|o|·B)",
        ),
        (
            PolicyGradient(GroupNormalised(), SAPO(1.0, 1.0), K3(), 0.0),
            "GC = 4Â·ρ·σ(τ(ρ-1))·(1-σ(τ(ρ-1))), w = m/(|o|·B)",
        ),
        (
            PolicyGradient(RewardAdvantage(), Tapered(), K3(), 0.0, SequenceSum()),
            "GC = (Â if Â > 0 else Â·min(s, 1)), w = m/B, s = Π_t ρ_t",
        ),
        (Distill(), "GC = log(π_teacher/π), w = m/Σm"),
        (Distill(off_policy=True), "GC = ρ·log(π_teacher/π), w = m/Σm"),
    ],
)
def test_the_formula_says_what_is_on(algorithm: Algorithm, formula: str) -> None:
    assert algorithm.formula == formula


@pytest.mark.parametrize(
    ("algorithm", "needs"),
    [
        (WeightedLikelihood(), set()),
        (DPO(beta=0.1), {"reference"}),
        (RPO(beta=0.1), {"reference"}),
        (SimPO(2.0, 1.0), set()),
        (KTO(0.1), {"reference", "mismatched"}),
        (ORPO(0.1), set()),
        (PolicyGradient(GroupNormalised(), CLIP, K3(), 0.04), {"reference"}),
        (PolicyGradient(GroupNormalised(), CLIP, K3(), 0.0), set()),
        (PolicyGradient(GroupNormalised(), CLIP, K3(), 0.0, entropy=0.1), set()),
        (PolicyGradient(GAE(1.0, 1.0, True), CLIP, KLInReward(), 0.1), {"reference", "old", "critic"}),
        (PolicyGradient(GAE(1.0, 1.0, True), CLIP, KLInReward(), 0.0), {"critic"}),
    ],
)
def test_no_more_is_needed_than_is_read(algorithm: Algorithm, needs: set[str]) -> None:
    assert algorithm.needs == needs


@pytest.mark.parametrize(
    ("algorithm", "weight"),
    [
        (PolicyGradient(GroupNormalised(), CLIP, K3(), 0.04), 0.04),
        (PolicyGradient(GAE(1.0, 1.0, True), CLIP, KLInReward(), 0.1), 0.1),
        (PolicyGradient(GroupNormalised(), CLIP, K2(), 0.0), 0.0),
        (PolicyGradient(GroupNormalised(), CLIP, NoKL(), 0.0), None),
        (Formula("advantage - beta * log_ratio_ref", beta=0.3), 0.3),
        (Formula("advantage - beta", beta=0.3), None),
        (Formula("advantage - log_ratio_ref"), None),
        (DPO(beta=0.1), None),
        (KTO(0.1), None),
        (WeightedLikelihood(), None),
    ],
)
def test_a_beta_that_weighs_a_kl_is_told_from_others(algorithm: Algorithm, weight: float | None) -> None:
    assert algorithm.kl_weight == weight


def test_a_method_without_kl_says_so() -> None:
    assert NoKL().formula == "0" and NoKL().penalises == "nothing"


def build(node: Any) -> Any:
    if not isinstance(node, dict):
        return 128 if node == "${data.max_completion_tokens}" else node
    module, _, name = node["_target_"].rpartition(".")
    return getattr(importlib.import_module(module), name)(**{k: build(v) for k, v in node.items() if k != "_target_"})


PPO = PolicyGradient(GAE(1.0, 0.95, True), CLIP, KLInReward(), 0.05)


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("sft", WeightedLikelihood()),
        ("rft", WeightedLikelihood()),
        ("dpo", DPO(beta=0.1)),
        ("ppo", PPO),
        ("grpo", PolicyGradient(GroupNormalised(delta=1e-4), CLIP, K3(), 0.04)),
        ("dr_grpo", PolicyGradient(algorithms.GroupCentred(), CLIP, K3(), 0.0, ConstantLength(128))),
    ],
)
def test_a_recipe_builds_its_method_and_states_every_setting(name: str, algorithm: Algorithm) -> None:
    text = (RECIPES / f"{name}.yaml").read_text()
    assert text.startswith("_target_: rlft.algorithms.")
    node = yaml.safe_load(text)
    assert build(node) == algorithm
    stated(node)


def stated(node: dict[str, Any]) -> None:
    target = getattr(algorithms, node["_target_"].rpartition(".")[2])
    assert set(node) - {"_target_"} == set(target.__dataclass_fields__), node["_target_"]
    for child in node.values():
        if isinstance(child, dict):
            stated(child)


def test_every_public_name_is_documented_and_listed() -> None:
    from rlft import ops

    for package in (algorithms, ops):
        assert list(package.__all__) == sorted(set(package.__all__), key=lambda n: (not n.isupper(), n.islower(), n))
        for name in package.__all__:
            assert getattr(package, name).__doc__, name

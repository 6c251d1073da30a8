"""What a coefficient is made of: the terms add up to it, and the factors are what goes into them."""

import math
import runpy
from functools import reduce
from pathlib import Path

import pytest
import torch
from by_hand import batch, logs
from torch import Tensor

from rlft.algorithms import (
    CISPO,
    DPO,
    K3,
    KTO,
    ORPO,
    RPO,
    Formula,
    GroupNormalised,
    KLInReward,
    NoKL,
    PolicyGradient,
    PPOClip,
)
from rlft.base import Algorithm, Batch
from rlft.testing import draw_logp

GRADIENTS = runpy.run_path(str(Path(__file__).with_name("test_gradients.py")))
METHODS: dict[str, Algorithm] = {
    **GRADIENTS["METHODS"],
    "formula": Formula("advantage * ratio - beta * log_ratio_ref + (reward - group_mean(reward)) - reward", beta=0.1),
    "formula, one term": Formula("2 * reward"),
}
# One group; the second completion has one token. Rewards 3 and 1 have a mean of 2 and a deviation of √2.
DATA = batch(
    [[1, 1], [1, 0]], [3, 1], [0, 0],
    logp_old=logs([0.5, 0.5], [0.5, 1]), logp_ref=logs([0.5, 0.25], [0.2, 1]),
)  # fmt: skip
LOGP = torch.tensor(logs([0.5, 0.7], [0.35, 1]), dtype=torch.float64)
A = 2**-0.5
near = pytest.approx


def numbers(values: dict[str, Tensor]) -> dict[str, list[list[float]]]:
    return {name: value.tolist() for name, value in values.items()}


def prepared(algorithm: Algorithm, data: Batch = DATA) -> Batch:
    return algorithm.prepare(data)


@pytest.mark.parametrize("name", METHODS)
def test_the_terms_add_up_to_the_coefficient_exactly(name: str) -> None:
    algorithm = METHODS[name]
    data = algorithm.prepare(GRADIENTS["batch_for"](algorithm))
    logp = draw_logp(data)
    terms = algorithm.terms(data, logp)
    assert torch.equal(reduce(torch.add, terms.values()), algorithm.coefficient(data, logp))
    factors = algorithm.factors(data, logp)
    assert all(value.expand(data.mask.shape)[data.mask].isfinite().all() for value in factors.values())


def test_policy_gradients_split_into_surrogate_and_kl() -> None:
    grpo = PolicyGradient(GroupNormalised(delta=1e-12), PPOClip(0.2, 0.2), K3(), beta=0.1)
    data = prepared(grpo)
    # Ratios 1, 1.4 (clipped, Â > 0) and 0.7 (clipped, Â < 0).
    terms = numbers(grpo.terms(data, LOGP))
    assert list(terms) == ["Â·ρ·live(ρ)", "β·(π_ref/π - 1)"]
    assert terms["Â·ρ·live(ρ)"] == [near([A, 0]), near([0, 0])]
    pulls = [[0, 0.1 * (0.25 / 0.7 - 1)], [0.1 * (0.2 / 0.35 - 1), 0]]
    assert terms["β·(π_ref/π - 1)"] == [near(row, abs=1e-12) for row in pulls]
    factors = numbers(grpo.factors(data, LOGP))
    assert factors["Â"] == [near([A, A]), near([-A, 0])]
    assert factors["ρ"] == [near([1, 1.4]), near([0.7, 1])]
    assert factors["live(ρ)"] == [[1, 0], [0, 1]]
    assert factors["π_ref/π"] == [near([1, 0.25 / 0.7]), near([0.2 / 0.35, 1])]


def test_a_kl_in_the_reward_is_no_term() -> None:
    in_reward = PolicyGradient(GroupNormalised(), PPOClip(0.2, 0.2), KLInReward(), beta=0.1)
    assert list(in_reward.terms(prepared(in_reward), LOGP)) == ["Â·ρ·live(ρ)"]
    assert "π_ref/π" in in_reward.factors(prepared(in_reward), LOGP)
    assert not KLInReward().coefficient(torch.ones(1, 1), torch.ones(1, 1)).any()


def test_other_surrogates_say_what_the_advantage_is_multiplied_by() -> None:
    cispo = PolicyGradient(GroupNormalised(delta=1e-12), CISPO(0.2, 0.2), NoKL(), beta=0.0)
    factors = numbers(cispo.factors(prepared(cispo), LOGP))
    assert list(factors) == ["Â", "ρ", "term/Â"]
    assert factors["ρ"] == [near([1, 1.4]), near([0.7, 1])]
    assert factors["term/Â"] == [near([1, 1.2]), near([0.8, 0])]


def test_a_critic_s_values_are_among_the_factors() -> None:
    ppo = METHODS["ppo without KL"]
    data = ppo.prepare(GRADIENTS["batch_for"](ppo))
    factors = ppo.factors(data, draw_logp(data))
    assert factors["V"] is data.value and factors["return"] is data.returns


def test_pairs_show_their_margin() -> None:
    # h = log(0.5·0.7/(0.5·0.25)) - log(0.35/0.2) = log(2.8/1.75) = log 1.6, and β = 1: σ(-h) = 1/(1 + 1.6)
    dpo = DPO(beta=1.0)
    factors = numbers(dpo.factors(prepared(dpo), LOGP))
    assert factors["±"] == [[1, 1], [-1, 0]]
    assert factors["h"] == [[near(math.log(1.6))]] * 2
    assert factors["β·σ(-βh)"] == [[near(1 / 2.6)]] * 2
    rpo = RPO(beta=1.0, alpha=3.0)
    terms = numbers(rpo.terms(prepared(rpo), LOGP))
    assert terms["±β·σ(-βh)"] == [near([1 / 2.6] * 2), near([-1 / 2.6, 0])]
    assert terms["α/|o|·1[o⁺]"] == [[1.5, 1.5], [0, 0]]


def test_orpo_splits_into_likelihood_and_odds() -> None:
    # P⁺ = √(0.5·0.7) and P⁻ = 0.35, whose odds are 0.35/0.65.
    orpo, p = ORPO(weight=2.0), math.sqrt(0.35)
    odds = p / (1 - p) / (0.35 / 0.65)
    terms, factors = (numbers(f(prepared(orpo), LOGP)) for f in (orpo.terms, orpo.factors))
    assert factors["l"] == [[near(math.log(odds))]] * 2
    assert factors["P"] == [[near(p)], [near(0.35)]] and factors["λ·σ(-l)"] == [[near(2 / (1 + odds))]] * 2
    assert terms["1[o⁺]/|o|"] == [[0.5, 0.5], [0, 0]]
    pull = 2 / (1 + odds)
    assert terms["±λ·σ(-l)/(1-P)/|o|"] == [near([pull / (1 - p) / 2] * 2), near([-pull / 0.65, 0])]


def test_kto_shows_how_far_a_completion_is_ahead() -> None:
    kto = KTO(beta=1.0)
    data = prepared(kto, DATA.replace(reward=torch.tensor([1.0, 0.0]).double(), mismatched=torch.tensor([0.2, 0.4])))
    factors = numbers(kto.factors(data, LOGP))
    gaps = [math.log(2.8) - 0.3, math.log(1.75) - 0.3]  # z0 = 0.3
    assert factors["q - z0"] == [[near(gap, rel=1e-6)] for gap in gaps]
    values = [1 / (1 + math.exp(-gaps[0])), 1 / (1 + math.exp(gaps[1]))]
    assert [row[0] for row in factors["p"]] == [near(value, rel=1e-6) for value in values]


def test_a_formula_splits_at_its_own_signs() -> None:
    method = Formula("reward - 2 * ratio + reward - (length - 1)")
    terms = numbers(method.terms(prepared(method), LOGP))
    assert list(terms) == ["reward", "-(2 * ratio)", "reward'", "-(length - 1)"]
    assert terms["-(2 * ratio)"] == [near([-2, -2.8]), near([-1.4, 0])]
    assert terms["reward"] == terms["reward'"] == [[3, 3], [1, 0]]
    assert numbers(method.factors(prepared(method), LOGP))["length"] == [[2], [1]]

"""The coefficients on pairs worked out by hand. Every test here takes no argument: the mutation test runs them all."""

import math

import pytest
import torch
from by_hand import batch, coefficient, near

from rlft.algorithms import IPO, KTO, ORPO, RPO, BradleyTerry, Hinge, RobustDPO, SimPO

# Two pairs of completions of two tokens and one, and a tie. The margins of the summed log-ratios are
# (0.5 + 0.25) - 0.35 = 0.4 and, the other way round, -0.1 - 0.5 = -0.6.
LOGP = [[-1.0, -2.0], [-0.65, -9.0], [-1.0, -9.0], [-1.1, -9.0], [-1.0, -1.0], [-2.0, -2.0]]
PAIRS = batch(
    [[1, 1], [1, 0], [1, 0], [1, 0], [1, 1], [1, 1]],
    [1, 0, 0, 1, 2, 2],
    [0, 0, 1, 1, 2, 2],
    logp_ref=[[-1.5, -2.25], [-1.0, 7.0], [-1.5, 7.0], [-1.0, 7.0], [-1.0, -1.0], [-3.0, -1.0]],
)
TIE = [[0.0, 0.0], [0.0, 0.0]]


def test_ipo() -> None:
    # 2(1/(2·0.5) - h)
    near(coefficient(IPO(beta=0.5), PAIRS, LOGP), [1.2, 1.2], [-1.2, 0], [-3.2, 0], [3.2, 0], *TIE)


def test_averages_instead_of_sums() -> None:
    # Margins of means: 0.375 - 0.35 = 0.025 and -0.1 - 0.5 = -0.6; each token of two gets half.
    method = IPO(beta=0.5, averaged=True)
    near(coefficient(method, PAIRS, LOGP), [0.975, 0.975], [-1.95, 0], [-3.2, 0], [3.2, 0], *TIE)
    assert "/|o|" in method.formula and "mean log(π/π_ref)" in method.formula


def test_hinge() -> None:
    # βh = 2·0.4 and 2·(-0.6) are below 1, 3·0.4 is not
    near(coefficient(Hinge(beta=2.0), PAIRS, LOGP), [2, 2], [-2, 0], [-2, 0], [2, 0], *TIE)
    near(coefficient(Hinge(beta=3.0), PAIRS, LOGP), [0, 0], [0, 0], [-3, 0], [3, 0], *TIE)


def test_robust() -> None:
    first, second = (1 / (1 + math.exp(2 * h)) for h in (0.4, -0.6))  # σ(-βh)
    gc = [2 * (0.75 * wrong + 0.25 * (1 - wrong)) / 0.5 for wrong in (first, second)]
    method = RobustDPO(beta=2.0, flipped=0.25)
    near(coefficient(method, PAIRS, LOGP), [gc[0]] * 2, [-gc[0], 0], [-gc[1], 0], [gc[1], 0], *TIE)


def test_rpo_imitates_what_is_preferred() -> None:
    gc = [2 / (1 + math.exp(2 * h)) for h in (0.4, -0.6)]
    method = RPO(beta=2.0, alpha=3.0)
    near(coefficient(method, PAIRS, LOGP), [gc[0] + 1.5] * 2, [-gc[0], 0], [-gc[1], 0], [gc[1] + 3, 0], *TIE)


def test_simpo() -> None:
    # Means: -1.5 against -0.65, -1.1 against -1. βh - γ = -1.7 - 0.5 and -0.2 - 0.5.
    gc = [2 / (1 + math.exp(x)) for x in (-2.2, -0.7)]
    method = SimPO(beta=2.0, gamma=0.5)
    near(coefficient(method, PAIRS, LOGP), [gc[0] / 2] * 2, [-gc[0], 0], [-gc[1], 0], [gc[1], 0], *TIE)


def test_bradley_terry() -> None:
    """Scores stand at each row's last token: -2 and -0.65, -1 and -1.1, a tie of -1 and -2."""
    gc = [1 / (1 + math.exp(h)) for h in (-1.35, -0.1)]  # σ(-h)
    near(coefficient(BradleyTerry(), PAIRS, LOGP), [0, gc[0]], [-gc[0], 0], [-gc[1], 0], [gc[1], 0], *TIE)
    # The middles are -2.65 and -2.1: -2·0.5·middle for either answer.
    first, second = ([0, gc[0] + 2.65], [-gc[0] + 2.65, 0]), ([-gc[1] + 2.1, 0], [gc[1] + 2.1, 0])
    near(coefficient(BradleyTerry(centring=0.5), PAIRS, LOGP), *first, *second, *TIE)
    weights = BradleyTerry().reduction(PAIRS.mask, PAIRS.group)
    near(weights, [0, 1 / 3], [1 / 3, 0], [1 / 3, 0], [1 / 3, 0], [0, 1 / 3], [0, 1 / 3])
    assert BradleyTerry().trains == "scores" and "2c" in BradleyTerry(centring=0.5).formula


def test_bradley_terry_of_a_score_of_each_token() -> None:
    """Means: -1.5 against -0.65, -1.1 against -1; the middles are -2.15 and -2.1."""
    method = BradleyTerry(averaged=True)
    gc = [1 / (1 + math.exp(h)) for h in (-0.85, -0.1)]  # σ(-h)
    near(coefficient(method, PAIRS, LOGP), [gc[0] / 2] * 2, [-gc[0], 0], [-gc[1], 0], [gc[1], 0], *TIE)
    first, second = ([(gc[0] + 2.15) / 2] * 2, [-gc[0] + 2.15, 0]), ([-gc[1] + 2.1, 0], [gc[1] + 2.1, 0])
    near(coefficient(BradleyTerry(centring=0.5, averaged=True), PAIRS, LOGP), *first, *second, *TIE)
    near(method.reduction(PAIRS.mask, PAIRS.group), *(PAIRS.mask / 3).tolist())
    assert method.trains == "token_scores" and "/|o|, w = m/#pairs, h = mean s(o⁺)" in method.formula
    assert "±(σ(-h) - 2c(s(o⁺) + s(o⁻)))/|o|" in BradleyTerry(centring=0.5, averaged=True).formula


def test_orpo() -> None:
    def odds(p: float) -> float:
        return p / (1 - p)

    good, bad = math.exp(-1.5), math.exp(-0.65)
    away = 0.5 / (1 + odds(good) / odds(bad))  # λ·σ(-l) = λ/(1 + e^l)
    first = [(1 + away / (1 - good)) / 2] * 2, [-away / (1 - bad), 0]
    good, bad = math.exp(-1.1), math.exp(-1.0)
    away = 0.5 / (1 + odds(good) / odds(bad))
    second = [-away / (1 - bad), 0], [1 + away / (1 - good), 0]
    near(coefficient(ORPO(weight=0.5), PAIRS, LOGP), *first, *second, *TIE)


def test_orpo_of_certain_answers_has_an_end() -> None:
    pair = batch([[1], [1]], [1, 0], [0, 0])
    (better,), (worse,) = coefficient(ORPO(weight=0.5), pair, [[0.0], [0.0]])  # l = 0, 1 - P = 1e-6
    assert (better, worse) == (pytest.approx(1 + 0.25e6, rel=1e-5), pytest.approx(-0.25e6, rel=1e-5))


def test_kto_against_the_point_that_the_batch_gives() -> None:
    """Sums of log-ratios 0.75, 0.35 and 0.5; good, bad and (at 0.5) bad; z0 = (0.5 - 0.2 + 0.3)/3 = 0.2."""

    def gate(x: float) -> float:
        return math.exp(-x) / (1 + math.exp(-x)) ** 2

    three = batch(
        [[1, 1], [1, 0], [1, 0]], [1, 0, 0.5], [0, 1, 2], logp_ref=[[-1.5, -2.25], [-1.0, 7.0], [-1.5, 7.0]]
    ).replace(mismatched=torch.tensor([0.5, -0.2, 0.3], dtype=torch.float64))
    logp = [[-1.0, -2.0], [-0.65, -9.0], [-1.0, -9.0]]
    method = KTO(beta=2.0, good=1.5, bad=0.5)
    first, second, third = 3 * gate(2 * 0.55), -gate(2 * 0.15), -gate(2 * 0.3)
    near(coefficient(method, three, logp), [first, first], [second, 0], [third, 0])
    # Where π is less than π_ref on the mismatched, z0 is 0.
    below = three.replace(mismatched=-torch.ones(3, dtype=torch.float64))
    near(coefficient(method, below, logp)[:1], [3 * gate(2 * 0.75)] * 2)
    weights = method.reduction(three.mask, three.group)
    near(weights, [1 / 3, 1 / 3], [1 / 3, 0], [1 / 3, 0])


def test_kto_says_when_the_rarer_kind_would_go_unheard() -> None:
    """λ_good·n_good is to be 1 to 4/3 of λ_bad·n_bad; what is proposed is."""
    assert KTO(0.1).advice(60, 50) is KTO(0.1, good=2.0).advice(5, 8) is None
    assert KTO(0.1).advice(0, 8) is KTO(0.1).advice(8, 0) is KTO(0.1, bad=0.0).advice(1, 8) is None
    for good, bad in ((9, 91), (91, 9), (49, 50), (68, 50)):
        said = KTO(0.1, bad=2.0).advice(good, bad)
        assert said is not None and f"{good} good completions is " in said
        proposed = float(said.rpartition("algorithm.good=")[2])
        assert KTO(0.1, good=proposed, bad=2.0).advice(good, bad) is None, (good, bad, said)
    assert "is 0.099 of algorithm.bad=1 times 91 bad ones" in (KTO(0.1).advice(9, 91) or "")

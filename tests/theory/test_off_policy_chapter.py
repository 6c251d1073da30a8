"""docs/theory/off_policy.md: every claim in it, by enumeration."""

import itertools
from math import inf, log, sqrt
from pathlib import Path

import chapters
import pytest
import torch
from theory_plots_off_policy import METHODS, RATE, TABLED, Point, draw, points, signed, table
from torch import Tensor

from rlft.algorithms import CISPO, PPOClip, SequenceSum, Tapered, WeightedLikelihood
from rlft.theory.proof.enumerable import Enumerable, completions
from rlft.theory.proof.off_policy import (
    Moments,
    climb,
    divergence,
    effective_share,
    from_probability,
    moments,
    second_moment,
)

CHAPTER = chapters.THEORY / "off_policy.md"
REF = Enumerable.draw()
MU, R = REF.probability, REF.reward
P = float(MU @ R)
RFT, WHOLE = WeightedLikelihood(SequenceSum()), signed(PPOClip(inf, inf, "sequence"))
COUNTS = torch.tensor([[float(c.count(word)) for word in range(3)] for c in completions()], dtype=torch.float64)
"""How often each completion holds each word."""


@pytest.fixture(scope="module")
def climbed() -> list[Point]:
    return points()


def centred(policy: Enumerable) -> Enumerable:
    return Enumerable(policy.logits, policy.reward - 0.5)


def stated(pattern: str) -> list[float]:
    return chapters.stated("off_policy.md", pattern)


def needed(moment: Moments) -> float:
    """Samples whose noise equals the mean."""
    return moment.variance / float(moment.mean.norm()) ** 2


def test_rft_climbs_a_bound_that_touches_at_the_reference() -> None:
    for step, policy in enumerate(climb(REF, 12, RATE)[::3]):
        logits = policy.logits.clone().requires_grad_()
        ratio = (Enumerable(logits, R).probability / MU).log()
        bound = P * (1 + (MU * R / P) @ ratio)
        (gradient,) = torch.autograd.grad(bound, logits)
        assert float(bound.detach()) <= float(policy.probability @ R) + 1e-12
        assert (float(bound.detach()) == pytest.approx(P)) is (step == 0)
        found = moments(RFT, policy, REF).mean
        assert torch.allclose(found, gradient.flatten(), atol=1e-12)
        assert torch.allclose(found, policy.gradient(R), atol=1e-12) is (step == 0)


def test_its_optimum_is_the_reference_given_right() -> None:
    """As near as a table of logits comes: wrong answers keep 1e-12."""
    best = from_probability((MU * R + 1e-12) / (P + 7e-12), R)
    assert float(best.probability @ R) == pytest.approx(1) and moments(RFT, best, REF).mean.norm() < 1e-10
    assert divergence(best, REF) == pytest.approx(-log(P)) == pytest.approx(stated("-log p = # nats")[0], abs=0.005)
    assert effective_share(best, REF) == pytest.approx(P), "n·p"
    right = torch.rand(20, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * R + 1e-12
    others = [from_probability(row / row.sum(), R) for row in right]
    assert all(divergence(other, REF) > -log(P) for other in others)
    assert moments(RFT, best, REF).variance == pytest.approx(stated("(# a sample at π⁺)")[0], abs=0.005)


def test_with_rewards_between_it_does_not_go_to_the_best() -> None:
    reward = torch.tensor([0.1, 1.0, 0.5, 0.1, 1.0, 1.0, 0.1], dtype=torch.float64)
    best = from_probability(MU * reward / (MU @ reward), reward)
    assert moments(RFT, best, Enumerable(REF.logits, reward)).mean.norm() < 1e-12
    after = float(best.probability @ reward)
    assert after == pytest.approx(float(MU @ reward**2 / (MU @ reward)))
    numbers = [after, float(MU @ reward), float(best.gradient(reward).norm())]
    assert numbers == pytest.approx(stated("#, from #, where 1 can be had, and ‖∇J‖ = # there"), abs=0.005)


def test_rounds_of_it_are_em_and_end_where_the_gradient_does() -> None:
    """One row of logits a, b, e for all prefixes: J = a(e + 2b), at most 1/2; the M-step counts words."""
    row, found = REF.logits[0], list[tuple[float, float]]()
    for _ in range(21):
        model = Enumerable(row.expand(3, 3), R)
        a, b, e = row.softmax(0).tolist()
        found.append((float(model.probability @ R), float(model.gradient(R).view(3, 3).sum(0).norm())))
        assert found[-1][0] == pytest.approx(a * (e + 2 * b))
        counts = (model.probability * R) @ COUNTS
        row = (counts / counts.sum()).log()
        fitted = moments(RFT, Enumerable(row.expand(3, 3), R), model).mean
        assert fitted.view(3, 3).sum(0).norm() < 1e-12, "stationary for RFT"
    accuracy = [each[0] for each in found]
    assert accuracy == sorted(accuracy) and found[20][1] < 1e-6
    first = [accuracy[1], accuracy[0], found[1][1]]
    assert first == pytest.approx(stated("J = #, from #, where 0.5 can be had, and ‖∇J‖ = # there"), abs=5e-4)
    rounds = stated("rounds 1, 2, 5 and 10 of the last case end at #, #, # and #")
    assert [accuracy[n] for n in (1, 2, 5, 10)] == pytest.approx(rounds, abs=5e-4)


def test_whole_ratios_are_unbiased_and_their_variance_is_bounded(climbed: list[Point]) -> None:
    assert max(point.bias["whole ratio"] for point in climbed) < 1e-9
    for policy in (climb(REF, 20, RATE)[n] for n in TABLED):
        s = policy.probability / MU
        assert float(MU @ s**2) == pytest.approx(second_moment(policy, REF)) and float(MU @ s) == pytest.approx(1)
        longest = (0.25 * policy.scores.sum(1).square().sum(1)).max()
        assert moments(WHOLE, policy, REF).variance < second_moment(policy, REF) * float(longest)


def test_the_effective_sample_size_is_that_of_samples() -> None:
    policy = climb(REF, 10, RATE)[-1]
    drawn = torch.multinomial(MU, 20_000, replacement=True, generator=torch.Generator().manual_seed(0))
    s = (policy.probability / MU)[drawn]
    assert float(s.sum() ** 2 / s.square().sum()) / 20_000 == pytest.approx(effective_share(policy, REF), rel=0.03)


def test_it_multiplies_over_tokens() -> None:
    new, old = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), torch.tensor([0.4, 0.4, 0.2], dtype=torch.float64)
    one = float(new**2 @ (1 / old))
    for length in range(1, 5):
        texts = torch.tensor(list(itertools.product(range(3), repeat=length)))
        assert float(new[texts].prod(1) ** 2 @ (1 / old[texts].prod(1))) == pytest.approx(one**length)
    short, long = stated("24 tokens leave #% of the samples, and 256 tokens #%")
    assert pytest.approx(short, rel=0.05) == 100 * 1.02**-24 and pytest.approx(long, rel=0.05) == 100 * 1.02**-256
    # Two equal words, of which one gains x: χ² = 4x², KL = 2x² to second order.
    x = sqrt(0.02 / 4)
    kl = sum(chance * log(2 * chance) for chance in (0.5 + x, 0.5 - x))
    assert kl == pytest.approx(0.01, rel=0.01)


def test_biases_start_with_the_root_of_the_divergence() -> None:
    near, far = (climb(REF, 2, 0.02)[n] for n in (1, 2))

    def slope(name: str, policy: Enumerable) -> float:
        algorithm, baseline = METHODS[name]
        moment = moments(algorithm, Enumerable(policy.logits, R - baseline), REF)
        return moment.bias(policy.gradient(R)) / sqrt(divergence(policy, REF))

    names = ("token ratio", "TOPR", "RFT: r")
    slopes = [slope(name, near) for name in names]
    assert slopes == pytest.approx([slope(name, far) for name in names], rel=0.01)
    claim = "c = # for the token ratio, # for TOPR, # for RFT"
    assert slopes == pytest.approx(stated(claim), abs=0.005)


def test_token_ratios_are_the_gradient_of_the_surrogate() -> None:
    policy = climb(REF, 6, RATE)[-1]
    logits = policy.logits.clone().requires_grad_()
    ratio = (Enumerable(logits, R).logp - REF.logp).exp()
    mask = torch.tensor([[len(c) > t for t in range(2)] for c in completions()])
    (gradient,) = torch.autograd.grad(MU @ ((R - 0.5)[:, None] * ratio * mask).sum(1), logits)
    found = moments(METHODS["token ratio"][0], centred(policy), REF).mean
    assert torch.allclose(found, gradient.flatten(), atol=1e-12)


def coefficient(part: PPOClip | CISPO, advantage: float) -> float:
    one = torch.ones(1, 1, dtype=torch.float64)
    return float(part.coefficient(advantage * one, 10 * one.log() + log(10) * one, one > 0))


def test_ppo_s_clip_holds_on_one_side() -> None:
    assert coefficient(PPOClip(0.2, 0.2), 1.0) == 0 and coefficient(PPOClip(0.2, 0.2), -1.0) == pytest.approx(-10)
    assert [coefficient(CISPO(0.2, 0.2), sign) for sign in (1.0, -1.0)] == pytest.approx([1.2, -1.2])


def test_topr_s_variance_is_bounded_at_any_distance() -> None:
    draw_logits = torch.Generator().manual_seed(3)
    for _ in range(10):
        logits: Tensor = 3 * torch.randn(3, 3, generator=draw_logits, dtype=torch.float64)
        policy = Enumerable(logits, R - 0.5)
        longest = (0.25 * policy.scores.sum(1).square().sum(1)).max()
        assert moments(signed(Tapered()), policy, REF).variance <= float(longest)


def test_accepted_samples_are_what_counts() -> None:
    scores, plus = REF.scores.sum(1), MU * R / P
    fresh = moments(RFT, REF, REF)
    assert pytest.approx(stated("(p = #)")[0], abs=0.005) == P
    by_hand = float(plus @ scores.square().sum(1)) / float((plus @ scores).square().sum()) / P - 1
    assert needed(fresh) == pytest.approx(by_hand)
    both = [needed(fresh), needed(moments(WHOLE, centred(REF), REF))]
    claim = "with # samples; with r - 1/2, which learns from wrong answers too, with #"
    assert both == pytest.approx(stated(claim), abs=0.05)


def test_what_stale_samples_need() -> None:
    policy = climb(REF, 10, RATE)[-1]
    found = [
        needed(moments(RFT, policy, REF)),
        needed(moments(RFT, policy, policy)),
        needed(moments(WHOLE, centred(policy), policy)),
        needed(moments(WHOLE, centred(policy), REF)),
    ]
    numbers = stated("RFT needs # to see its own gradient") + stated("with fresh ones #, Online with r - 1/2 #,")
    numbers += stated("on samples of π_ref #.")
    assert found == pytest.approx(numbers, abs=0.06)
    off = 100 * moments(RFT, policy, REF).bias(policy.gradient(R))
    assert off == pytest.approx(stated("that is #% off")[0], abs=0.5)


def test_the_table_and_the_plot_are_these(climbed: list[Point], tmp_path: Path) -> None:
    assert table(climbed) in CHAPTER.read_text(encoding="utf-8")
    draw(tmp_path / "off_policy.svg", climbed)
    drawn = (tmp_path / "off_policy.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<?xml") and "(off_policy.svg)" in CHAPTER.read_text(encoding="utf-8")

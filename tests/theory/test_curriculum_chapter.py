"""docs/theory/curriculum.md: its formulas by enumeration, its toy as the real curriculum plays it."""

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from theory_curriculum import (
    ALIKE,
    CURRICULA,
    MIXED,
    SAMPLES,
    Toy,
    draw,
    mean_interval,
    mixed_share,
    second_moment,
)
from torch import Tensor

from rlft.algorithms import (
    Advantage,
    GroupCentred,
    GroupNormalised,
    LeaveOneOut,
    NoKL,
    NoSurrogate,
    PolicyGradient,
    SequenceSum,
)
from rlft.base import Completion, Group, Pool, Query, Reward
from rlft.data import Adaptive
from rlft.testing import make_batch
from rlft.theory.proof.enumerable import Enumerable, completions
from rlft.theory.proof.targets import worths

CHAPTER = Path(__file__).parents[2] / "docs" / "theory" / "curriculum.md"
TEXT = CHAPTER.read_text(encoding="utf-8")
RATES = (0.01, 0.05, 0.3, 0.5, 0.9)
SHARES = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


def questions() -> list[Enumerable]:
    """One policy, and three questions with right answers of their own."""
    draw = torch.Generator().manual_seed(1)
    rewards = (torch.rand(3, len(completions()), generator=draw) < 0.4).double()
    return [replace(Enumerable.draw(), reward=reward) for reward in rewards]


def mean_update(advantage: Advantage, weights: Tensor) -> Tensor:
    """Returns Σ c(q)·(the mean update of a group of two answers to q)."""
    method = PolicyGradient(advantage, NoSurrogate(), NoKL(), 0.0, SequenceSum())
    return sum((c * q.expectation(method, 2) for c, q in zip(weights, questions(), strict=True)), torch.zeros(()))


def pass_rate(logits: Tensor, question: Enumerable) -> Tensor:
    return Enumerable(logits, question.reward).probability @ question.reward


def climbs(worths: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    """Returns ∇Σ F_q(p_q) by autograd."""
    logits = questions()[0].logits.clone().requires_grad_()
    each = [worth(pass_rate(logits, q)) for worth, q in zip(worths, questions(), strict=True)]
    return torch.autograd.grad(torch.stack(each).sum(), logits)[0].flatten()


def test_with_weights_the_uniform_objective_is_climbed_and_without_that_of_the_shares() -> None:
    weights = 1 / (3 * SHARES)
    assert torch.allclose(mean_update(LeaveOneOut(), SHARES * weights), climbs([lambda p: p / 3] * 3), atol=1e-9)
    of_shares = [lambda p, c=c: c * p for c in SHARES]
    assert torch.allclose(mean_update(LeaveOneOut(), SHARES), climbs(of_shares), atol=1e-9)
    assert (mean_update(LeaveOneOut(), SHARES) - climbs([lambda p: p / 3] * 3)).norm() > 0.01


def test_in_proportion_to_learnability_the_sum_of_f_rises() -> None:
    p = torch.stack([pass_rate(q.logits, q) for q in questions()])
    v = p * (1 - p)
    rloo = mean_update(LeaveOneOut(), v / v.sum())
    assert torch.allclose(rloo * v.sum(), climbs([lambda p: p**2 / 2 - p**3 / 3] * 3), atol=1e-9)
    # √(p(1-p)) is the slope of ((2p-1)·√(p(1-p)) + arcsin(2p-1)/2)/4.
    x = torch.tensor([0.1, 0.6], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad((((2 * x - 1) * (x - x**2).sqrt() + (2 * x - 1).arcsin() / 2) / 4).sum(), x)
    assert torch.allclose(slope, (x - x**2).sqrt())
    for rate in (0.2, 0.5, 0.7):
        f = worths(GroupNormalised(delta=1e-9), rate, 800)
        assert rate * (1 - rate) * (f[1.0] - f[0.0]) == pytest.approx((rate * (1 - rate)) ** 0.5, rel=0.02)


def advantages(advantage: Advantage) -> Tensor:
    """Returns Â of groups of SAMPLES with k = 0 … SAMPLES right answers [k, SAMPLES]."""
    k = torch.arange(SAMPLES + 1)[:, None]
    rewards = (torch.arange(SAMPLES) < k).double().flatten()
    method = PolicyGradient(advantage, NoSurrogate(), NoKL(), 0.0, SequenceSum())
    batch = make_batch(SAMPLES + 1, SAMPLES, 1, holes=False, rewards=rewards, needs=())
    found = method.prepare(batch).advantage
    assert found is not None
    return found.view(SAMPLES + 1, SAMPLES)


def binomial(p: float) -> Tensor:
    k = torch.arange(SAMPLES + 1, dtype=torch.float64)
    return torch.distributions.Binomial(SAMPLES, torch.tensor(p, dtype=torch.float64)).log_prob(k).exp()


@pytest.mark.parametrize("p", RATES)
def test_what_a_group_can_teach(p: float) -> None:
    share = (SAMPLES - 1) / SAMPLES
    assert float(binomial(p)[1:-1].sum()) == pytest.approx(mixed_share(p, SAMPLES))
    centred = binomial(p) @ advantages(GroupCentred()).square().mean(1)
    assert float(centred) == pytest.approx(share * p * (1 - p))
    scaled = binomial(p) @ advantages(GroupNormalised(delta=1e-12)).square().mean(1)
    assert float(scaled) == pytest.approx(share * mixed_share(p, SAMPLES))


@pytest.mark.parametrize("p", RATES)
def test_the_second_moment_is_that_of_the_real_advantage(p: float) -> None:
    right = (torch.arange(SAMPLES) < torch.arange(SAMPLES + 1)[:, None]).double()
    estimate = (advantages(LeaveOneOut()) * (right - p)).mean(1)
    assert float(binomial(p) @ estimate) == pytest.approx(p * (1 - p))
    assert float(binomial(p) @ estimate**2) == pytest.approx(second_moment(p, SAMPLES))
    assert second_moment(p, 2) ** 0.5 == pytest.approx((p * (1 - p) / 2) ** 0.5)
    assert second_moment(p, 1000) ** 0.5 == pytest.approx(p * (1 - p), rel=0.06)


def test_no_shares_have_less_variance_than_those_of_the_square_roots() -> None:
    moments = torch.tensor([second_moment(p, 2) for p in RATES], dtype=torch.float64)
    best = moments.sqrt() / moments.sqrt().sum()
    assert float((moments / best).sum()) == pytest.approx(float(moments.sqrt().sum()) ** 2)
    rates = torch.tensor(RATES, dtype=torch.float64)
    learnable = rates * (1 - rates) / (rates * (1 - rates)).sum()
    drawn = torch.distributions.Dirichlet(torch.ones(5, dtype=torch.float64))
    torch.manual_seed(0)
    others = [learnable, torch.full((5,), 0.2, dtype=torch.float64), *drawn.sample((50,))]
    assert all((moments / other).sum() > (moments / best).sum() for other in others)


def test_two_answers_that_differ_come_from_p_times_1_less_p() -> None:
    kept = [sum(x * y for x, y in itertools.product((p, 1 - p), repeat=2)) - p**2 - (1 - p) ** 2 for p in RATES]
    assert [k / sum(kept) for k in kept] == pytest.approx(
        [p * (1 - p) / sum(q * (1 - q) for q in RATES) for p in RATES]
    )
    assert kept == pytest.approx([mixed_share(p, 2) for p in RATES])


def test_an_estimate_lags_by_decay_over_1_less_decay() -> None:
    curriculum, speed = Adaptive(column="level", decay=0.9), 0.005
    query = Query("0", (), metadata={"columns": {"level": 0}})
    curriculum.bind(Pool([query], 0, True, lambda queries, n: [], lambda line: None))
    for step in range(120):
        right = round(1000 * (0.2 + speed * step))
        rewards = (Reward(1.0),) * right + (Reward(0.0),) * (1000 - right)
        curriculum.observe([Group(query, (Completion((), ""),) * 1000, rewards)])
    (estimate,) = curriculum.pass_rates()[1].tolist()
    assert (0.2 + speed * 119) - estimate == pytest.approx(speed * 9, abs=2e-3)
    assert "9 steps with 0.9" in TEXT and 6800 / (0.05 * 8) == 17000


def test_far_from_uniform_is_far_from_its_gradient() -> None:
    each = torch.stack([q.gradient(q.reward) for q in questions()])
    torch.manual_seed(0)
    for shares in torch.distributions.Dirichlet(torch.ones(3, dtype=torch.float64)).sample((50,)):
        gap = (shares @ each - each.mean(0)).norm()
        assert gap <= (shares - 1 / 3).abs().sum() * each.norm(dim=1).max()  # TV is half of that sum


def maximum(first: float, second: float) -> float:
    """Returns the x at which first·σ(x) + second·σ(1 - 2x) is greatest, by halving."""
    low, high = -10.0, 0.5

    def slope(x: float) -> float:
        p, q = (1 / (1 + math.exp(-y)) for y in (x, 1 - 2 * x))
        return first * p * (1 - p) - 2 * second * q * (1 - q)

    assert slope(low) > 0 > slope(high)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return low


def test_where_questions_compete_the_limits_differ() -> None:
    found = re.search(r"greatest at x = (-[\d.]+) and that\s+with c = \(0\.2, 0\.8\) at\s+x = (-[\d.]+)", TEXT)
    assert found is not None
    assert [float(x) for x in found.groups()] == pytest.approx([maximum(0.5, 0.5), maximum(0.2, 0.8)], abs=0.005)


@pytest.mark.parametrize(("hard", "label"), [(MIXED, "solved to hopeless"), (ALIKE, "all alike")])
def test_the_toy_is_as_the_chapter_says(hard: tuple[float, ...], label: str) -> None:
    answers = {name: Toy(hard).answers(name, range(20)) for name in CURRICULA}
    ratios = [a / b for a, b in zip(answers["adaptive"], answers["none"], strict=True)]
    cells = [f"{mean:.0f} [{low:.0f}, {high:.0f}]" for mean, low, high in map(mean_interval, answers.values())]
    mean, low, high = mean_interval(ratios)
    (row,) = [line for line in TEXT.split("\n") if line.startswith(f"| {label}")]
    assert row.endswith(f" | {cells[0]} | {cells[1]} | {mean:.2f} [{low:.2f}, {high:.2f}] |")
    assert high < 0.6 if hard == MIXED else low < 1 < high


def test_the_numbers_of_the_chapter_are_these() -> None:
    found = re.search(r"p = 0\.05 gives\s+([\d.]+) times .*?, ([\d.]+) times by the first", TEXT, re.DOTALL)
    assert found is not None
    expected = [mixed_share(0.05, 8) / mixed_share(0.5, 8), 0.05 * 0.95 / 0.25]
    assert [float(x) for x in found.groups()] == pytest.approx(expected, abs=0.005)


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    draw(tmp_path / "curriculum.svg", seeds=1)
    assert (tmp_path / "curriculum.svg").read_text(encoding="utf-8").startswith("<?xml") and "(curriculum.svg)" in TEXT

"""docs/theory/grpo.md: every formula in it, by enumeration or against its closed form."""

import re
from pathlib import Path

import pytest
import torch
from theory_plots import ADVANTAGES, SAMPLES, draw, weight
from torch import Tensor

from rlft.algorithms import (
    K2,
    K3,
    KL,
    Advantage,
    GroupCentred,
    GroupNormalised,
    LeaveOneOut,
    MeanRatio,
    NoKL,
    NoSurrogate,
    PolicyGradient,
    RewardAdvantage,
    SequenceMean,
    SequenceSum,
    Sum,
)
from rlft.theory.proof import prove
from rlft.theory.proof.enumerable import Enumerable, completions, steps

CHAPTER = Path(__file__).parents[2] / "docs" / "theory" / "grpo.md"
PARTS: list[Advantage] = [RewardAdvantage(), LeaveOneOut(), GroupCentred(), GroupNormalised(), MeanRatio()]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: type(part).__name__)
def test_every_advantage_moves_along_the_gradient_of_being_right(part: Advantage) -> None:
    model = Enumerable.draw()
    p = float(model.probability @ model.reward)
    method = PolicyGradient(part, NoSurrogate(), NoKL(), 0.0, SequenceSum())
    assert torch.allclose(model.expectation(method, 3), weight(part, p, 3) * model.gradient(model.reward), atol=1e-8)


@pytest.mark.parametrize("p", [0.01, 0.3, 0.5, 0.9])
def test_what_a_query_counts(p: float) -> None:
    g = SAMPLES
    assert [weight(RewardAdvantage(), p), weight(LeaveOneOut(), p)] == pytest.approx([1, 1])
    assert weight(GroupCentred(), p) == pytest.approx((g - 1) / g)
    assert weight(MeanRatio(), p) == pytest.approx((1 - (1 - p) ** (g - 1)) / p)
    many = weight(GroupNormalised(delta=1e-9), p, 1000)
    assert many == pytest.approx((p * (1 - p)) ** -0.5, rel=0.06)


def test_a_small_group_does_not_go_to_infinity() -> None:
    middle, rare = weight(GroupNormalised(), 0.5), weight(GroupNormalised(), 0.01)
    assert middle < rare < 0.01**-0.5
    assert max(weight(GroupNormalised(), n / 1000) for n in range(1, 1000)) < SAMPLES


def test_dividing_by_the_length_is_the_gradient_of_a_worth_by_length() -> None:
    """E[f(r)/|o|] with f fixed, by autograd."""
    model = Enumerable.draw()
    method = PolicyGradient(GroupCentred(), NoSurrogate(), NoKL(), 0.0, SequenceMean())
    p = float(model.probability @ model.reward)
    f = model.reward - (1 / 3 * model.reward + 2 / 3 * p)  # r less the mean of itself and two others
    lengths = torch.tensor([float(len(c)) for c in completions()], dtype=torch.float64)
    logits = model.logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(Enumerable(logits, model.reward).probability @ (f / lengths), logits)
    assert torch.allclose(model.expectation(method, 3), gradient.flatten(), atol=1e-8)


def divergence(model: Enumerable, forward: bool) -> Tensor:
    """The gradient of the KL of each state, weighed by how often it is visited, the visits held fixed."""
    reference = Enumerable.draw(seed=99)
    visits = torch.zeros(len(model.logits), dtype=torch.float64)
    for chance, completion in zip(model.probability, completions(), strict=True):
        for prefix, _ in steps(completion):
            visits[prefix] += chance
    logits = model.logits.clone().requires_grad_()
    p, q = logits.log_softmax(1), reference.logits.log_softmax(1)
    one, other = (q, p) if forward else (p, q)
    (gradient,) = torch.autograd.grad((visits[:, None] * one.exp() * (one - other)).sum(), logits)
    return gradient.flatten()


@pytest.mark.parametrize(("kl", "forward"), [(K3(), True), (K2(), False)])
def test_which_divergence_is_followed(kl: KL, forward: bool) -> None:
    model = Enumerable.draw()
    with_kl, without = (
        model.expectation(PolicyGradient(LeaveOneOut(), NoSurrogate(), kl, beta, Sum()), 2) for beta in (0.5, 0.0)
    )
    assert torch.allclose(with_kl - without, 2 * -0.5 * divergence(model, forward), atol=1e-9)
    assert not torch.allclose(with_kl - without, 2 * -0.5 * divergence(model, not forward), atol=1e-3)


def test_the_numbers_of_the_chapter_are_these() -> None:
    text = CHAPTER.read_text(encoding="utf-8")
    number = r"(\d+\.\d+)"
    pattern = rf"counts {number} times .*? p = 0.5 {number}\s+times, .*?are {number} and\s+{number}"
    counts = re.search(pattern, text, re.DOTALL)
    assert counts is not None
    part = GroupNormalised()
    expected = [weight(part, 0.01), weight(part, 0.5), (0.01 * 0.99) ** -0.5, 2.0]
    assert [float(each) for each in counts.groups()] == pytest.approx(expected, abs=0.005)
    angle = re.search(r"\(([\d.]+)° for `grpo`", text)
    found = prove("grpo", PolicyGradient(part, NoSurrogate(), NoKL(), 0.0, SequenceMean())).angle
    assert angle is not None and found == pytest.approx(float(angle[1]), abs=0.05)


def test_the_plot_shows_what_the_table_has(tmp_path: Path) -> None:
    draw(tmp_path / "grpo.svg")
    drawn = (tmp_path / "grpo.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<?xml") and "grpo.svg" in CHAPTER.read_text(encoding="utf-8")
    assert set(map(type, ADVANTAGES.values())) == {type(part) for part in PARTS} - {RewardAdvantage}

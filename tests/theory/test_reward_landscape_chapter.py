"""docs/theory/reward_landscape.md: its formulas by enumeration, its numbers against what made them."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from landscape import draw as draw_slices
from landscape import read, table
from theory_reward_landscape import LIKED, RIGHT, TIMES, WORTH, accuracy, climb, draw, rewards, tied
from torch import Tensor

from rlft.algorithms import GroupNormalised, LeaveOneOut, NoKL, NoSurrogate, PolicyGradient, SequenceSum
from rlft.testing import make_batch
from rlft.theory.proof.enumerable import LIMIT, WORDS, Enumerable, completions, mask_of_all, steps

DOCS = Path(__file__).parents[2] / "docs" / "theory"
TEXT = (DOCS / "reward_landscape.md").read_text(encoding="utf-8")
SEEDS = range(20)
START = (0.2, 0.6, 0.2)


def fisher(model: Enumerable) -> Tensor:
    scores = model.scores.sum(1)
    return torch.einsum("c,cd,ce->de", model.probability, scores, scores)


@pytest.mark.parametrize("name", rewards())
def test_the_gradient_is_no_longer_than_the_reward_s_spread_allows(name: str) -> None:
    for seed in SEEDS:
        model = replace(Enumerable.draw(seed), reward=rewards()[name])
        mean = model.probability @ model.reward
        spread = (model.probability @ (model.reward - mean) ** 2).sqrt()
        most = torch.linalg.eigvalsh(fisher(model))[-1].sqrt()
        assert 0.05 * spread * most < model.gradient(model.reward).norm() <= spread * most


def test_a_sparse_gradient_is_p_times_1_less_p_times_a_difference_of_scores() -> None:
    model = Enumerable.draw()
    p, scores = float(model.probability @ model.reward), model.scores.sum(1)
    of_right = (model.probability * model.reward) @ scores / p
    of_wrong = (model.probability * (1 - model.reward)) @ scores / (1 - p)
    assert torch.allclose(model.gradient(model.reward), p * (1 - p) * (of_right - of_wrong), atol=1e-12)


def test_where_nothing_is_right_a_dense_reward_still_has_a_gradient() -> None:
    lengths = {name: tied((1e-4, 0.4, 0.6), r).gradient(r).norm() for name, r in rewards().items()}
    nearer = tied((1e-3, 0.4, 0.6), rewards()["sparse"])
    assert lengths["sparse"] < 1e-7 and nearer.gradient(nearer.reward).norm() > 50 * lengths["sparse"]
    assert lengths["dense"] > 1000 * lengths["sparse"]


SLOPES: list[Callable[[float], float]] = [lambda p: 1.0, lambda p: (p * (1 - p)) ** -0.5, lambda p: 1 / p]


@pytest.mark.parametrize(("name", "slope"), zip(TIMES, SLOPES, strict=True))
def test_time_to_leave_the_plateau(name: str, slope: Callable[[float], float]) -> None:
    """x' = J'(p)·p(1-p), p = σ(x), by Euler steps so small that smaller ones would change nothing here."""
    x, time, step = torch.tensor(0.05, dtype=torch.float64).logit().item(), 0.0, 1e-3
    while x < 0:
        p = 1 / (1 + torch.e**-x)
        x, time = x + step * slope(p) * p * (1 - p), time + step
    assert time == pytest.approx(TIMES[name](0.05), rel=2e-3)


def test_the_curvature_turns_at_one_half() -> None:
    x = torch.tensor([-2.0, 0.0, 1.5], dtype=torch.float64, requires_grad=True)
    p = x.sigmoid()
    (first,) = torch.autograd.grad(p.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert torch.allclose(second, p * (1 - p) * (1 - 2 * p), atol=1e-12)


def potential(ends: bool) -> tuple[Tensor, Tensor]:
    """Φ of the prefix before each token, and the sum of the shaping rewards from each token on [completions, tokens];
    Φ of what `ends` is 0, or the number of a word that ends it."""
    of_prefix = torch.tensor([0.7, -0.4, 1.3], dtype=torch.float64)
    before, rest = (torch.zeros(len(completions()), LIMIT, dtype=torch.float64) for _ in range(2))
    for row, completion in enumerate(completions()):
        last = 0.0 if ends else float(completion[-1])
        for t, (prefix, _) in enumerate(steps(completion)):
            before[row, t], rest[row, t] = of_prefix[prefix], last - of_prefix[prefix]
    return before, rest


def test_a_potential_shapes_rewards_and_moves_nothing() -> None:
    for seed in SEEDS:
        model = Enumerable.draw(seed)
        before, rest = potential(ends=True)
        assert torch.equal(rest, -before)
        returns = (model.reward[:, None] + rest) * mask_of_all()
        shaped = torch.einsum("c,ct,ctd->d", model.probability, returns, model.scores)
        assert torch.allclose(shaped, model.gradient(model.reward), atol=1e-12)
    _, rest = potential(ends=False)
    other = torch.einsum("c,ct,ctd->d", model.probability, (model.reward[:, None] + rest) * mask_of_all(), model.scores)
    assert (other - model.gradient(model.reward)).norm() > 0.01


def test_of_outcomes_a_constant_alone_moves_nothing() -> None:
    """h ↦ Σ π(o)·h(o)·∇log π(o) is 0 for constants, and for nothing else: its rank is one less than h has entries."""
    for seed in SEEDS:
        model = Enumerable.draw(seed)
        assert model.gradient(torch.ones(len(completions()), dtype=torch.float64)).norm() < 1e-12
        assert torch.linalg.matrix_rank(model.probability[:, None] * model.scores.sum(1)) == len(completions()) - 1


def update(advantage: GroupNormalised | LeaveOneOut, reward: Tensor) -> Tensor:
    """Returns the mean update of a group of three, over all groups that there are."""
    model = Enumerable.draw()
    groups = torch.cartesian_prod(*[torch.arange(len(reward))] * 3)
    method = PolicyGradient(advantage, NoSurrogate(), NoKL(), 0.0, SequenceSum())
    batch = make_batch(len(groups), 3, 1, holes=False, rewards=reward[groups].flatten(), needs=())
    found = method.prepare(batch).advantage
    assert found is not None
    chance = model.probability[groups].prod(1)
    return torch.einsum("n,ng,ngd->d", chance, found.view(-1, 3), model.scores.sum(1)[groups])


def test_what_a_group_does_to_the_scale() -> None:
    sparse, dense, by = rewards()["sparse"], rewards()["dense"], GroupNormalised(delta=1e-12)
    assert torch.allclose(update(by, 5 * dense + 2), update(by, dense), atol=1e-9)
    assert torch.allclose(update(LeaveOneOut(), 5 * dense + 2), 5 * update(LeaveOneOut(), dense), atol=1e-9)
    assert torch.allclose(update(by, 3 * sparse**2 - 1), update(by, sparse), atol=1e-9), "two values are two values"
    one, other = update(by, dense), update(by, dense**3)
    angle = torch.nn.functional.cosine_similarity(one, other, dim=0).acos().rad2deg()
    assert angle == pytest.approx(float(re.search(r"r³ turns\s+it by ([\d.]+)°", TEXT)[1]), abs=0.05)  # type: ignore[index]


def test_a_wrong_answer_that_is_liked_is_a_local_maximum_where_words_share_weights() -> None:
    found = {name: climb(tied(START, reward), True, 300, 2.0) for name, reward in rewards().items()}
    assert accuracy(found["sparse"]) > 0.99 and accuracy(found["dense"]) > 0.99
    stuck = found["hackable"]
    assert float(stuck.probability @ stuck.reward) == pytest.approx(WORTH, abs=0.01) and accuracy(stuck) < 1e-5
    value = {e: tied((e, 1 - e - 1e-9, 1e-9), stuck.reward) for e in (0.0 + 1e-9, 0.001)}
    slope = [float(m.probability @ m.reward) for m in value.values()]
    assert (slope[1] - slope[0]) / 0.001 == pytest.approx(-2 * WORTH, rel=0.01)


def test_a_table_leaves_it_again() -> None:
    free = climb(tied(START, rewards()["hackable"]), False, 700, 2.0)
    assert accuracy(free) > 0.98


def test_the_numbers_of_the_chapter_are_these() -> None:
    row = re.search(r"\| 0\.01 \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", TEXT)
    assert row and [float(x) for x in row.groups()] == pytest.approx([t(0.01) for t in TIMES.values()], abs=0.05)
    assert f"{WORTH:g}" in TEXT and (RIGHT, LIKED) == ((0, 0), (1, 1))
    places = read(DOCS / "landscape.json")
    printed = [line for line in table(places, "").split("\n") if line.startswith("|")]
    assert printed and all(line in TEXT for line in printed)
    ends = [next(p for p in places if (p.line, p.alpha) == ("trained", alpha)) for alpha in (1, 2)]
    said = re.search(r"reward falls from ([\d.]+) to ([\d.]+), .*?it was, ([\d.]+) and ([\d.]+):", TEXT, re.DOTALL)
    found = [f"{place.rewards[name].value:.2f}" for name in ("sparse", "hackable") for place in ends]
    assert said is not None and list(said.groups()) == found


def test_the_plots_are_drawn(tmp_path: Path) -> None:
    draw(tmp_path / "reward_landscape.svg")
    draw_slices(read(DOCS / "landscape.json"), tmp_path / "landscape.svg")
    for name in ("reward_landscape.svg", "landscape.svg"):
        assert (tmp_path / name).read_text(encoding="utf-8").startswith("<?xml") and f"({name})" in TEXT
    assert len(completions()) == len(rewards()["sparse"]) and WORDS == 3

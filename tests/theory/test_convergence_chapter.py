"""docs/theory/convergence.md: the theorem's conditions and what breaks them, on models that can be enumerated."""

from itertools import pairwise
from math import log, sqrt
from pathlib import Path

import chapters
import pytest
import torch
from theory_convergence import (
    BETA,
    CHAINS,
    CLIPPED,
    EXACT,
    FIRST,
    NOTE,
    PAIRS,
    REF,
    RFT,
    RLOO,
    ROW,
    RUNS,
    asymmetry,
    at,
    by_batch,
    by_group,
    counted,
    curvature,
    derivative,
    follow,
    gain,
    like,
    margin,
    objective,
    pair_updates,
    penalised,
    preferred,
    sampled,
)
from theory_plots_convergence import draw, followed
from torch import Tensor

from rlft.algorithms import (
    Advantage,
    GroupCentred,
    GroupNormalised,
    NoKL,
    NoSurrogate,
    PolicyGradient,
    Reduction,
    SequenceMean,
    SequenceSum,
)
from rlft.theory.proof.enumerable import LIMIT, Enumerable
from rlft.theory.proof.off_policy import from_probability

CHAPTER = chapters.THEORY / "convergence.md"


def stated(pattern: str) -> list[float]:
    return chapters.stated("convergence.md", pattern)


def accuracy(logits: Tensor, reward: Tensor = REF.reward) -> float:
    return float(at(logits).probability @ reward)


def spread(chance: Tensor, updates: Tensor) -> Tensor:
    """The covariance of an update."""
    away = updates - chance @ updates
    return torch.einsum("k,kd,ke->de", chance, away, away)


@pytest.fixture(scope="module")
def squares() -> dict[str, Tensor]:
    return sampled()


@pytest.fixture(scope="module")
def floors(squares: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(square[400:].mean()) for name, square in squares.items()}


@pytest.fixture(scope="module")
def ends() -> dict[str, tuple[Tensor, list[float]]]:
    return followed()


@pytest.fixture(scope="module")
def best() -> Tensor:
    """The row of logits where J = E[r] - β·KL is greatest."""
    logits, norms = follow(penalised, penalised, ROW, 400, 2.0)
    assert norms[-1] < 1e-5 < 1e-2 < norms[0]
    return logits


@pytest.fixture(scope="module")
def hessian(best: Tensor) -> Tensor:
    found = derivative(penalised, best)
    assert torch.linalg.eigvalsh(found).max() < 1e-8, "a maximum"
    return found


def test_a_table_of_logits_is_smooth() -> None:
    tables = 2 * torch.randn(200, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = curvature(derivative(gain(REF.reward), tables))
    bound, measured = stated("For the seven completions L ≤ #; the largest curvature of 200 random tables is #")
    assert found < 2 * LIMIT + 0.5 == bound and found == pytest.approx(measured, abs=0.005)
    scores = Enumerable(tables, REF.reward).scores
    assert scores.square().sum(-1).max() <= 2 and scores.sum(-2).square().sum(-1).max() <= 2 * LIMIT
    assert at(tables).gradient(REF.reward).norm(dim=-1).max() <= sqrt(2 * LIMIT)


def test_rloo_is_unbiased_for_the_penalised_objective(best: Tensor) -> None:
    for logits in (ROW, best):
        chance, updates = pair_updates(logits)
        assert torch.allclose(chance @ updates, penalised(logits), atol=1e-12)
    row = ROW.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(row), row)
    assert torch.allclose(gradient, penalised(ROW), atol=1e-12)


def test_exact_steps_converge(ends: dict[str, tuple[Tensor, list[float]]]) -> None:
    logits, norms = ends["∇E[r]"]
    assert norms[99] / norms[49] == pytest.approx(0.5, abs=0.02) and accuracy(logits) > 0.99


@pytest.mark.parametrize("place", range(len(RUNS)))
def test_where_sampled_steps_end(floors: dict[str, float], place: int) -> None:
    table = CHAPTER.read_text(encoding="utf-8").split("| steps |")[1].split("\n\n")[0].splitlines()[2:]
    assert len(table) == len(RUNS)
    assert list(floors.values())[place] == pytest.approx(float(table[place].split("|")[2]), abs=5e-4)


def test_a_constant_step_has_a_floor(floors: dict[str, float], best: Tensor, hessian: Tensor) -> None:
    chance, updates = pair_updates(best)
    noise = spread(chance, updates)
    slope = -float((hessian @ noise).trace()) / 2
    claim = stated("H the Hessian and C the covariance of g: # and #")
    assert [0.8 * slope, 0.2 * slope] == pytest.approx(claim, abs=5e-4)
    assert floors["η = 0.8"] == pytest.approx(0.8 * slope, rel=0.15)
    assert floors["η = 0.2"] == pytest.approx(0.2 * slope, rel=0.15)
    assert floors["Adam, 0.1"] / floors["Adam, 0.025"] == pytest.approx(4, rel=0.2)
    assert floors["η falling"] < floors["η = 0.2"] / 5 and floors["Adam, falling"] < floors["Adam, 0.025"] / 3


def test_the_bound_of_the_theorem_holds(squares: dict[str, Tensor], best: Tensor) -> None:
    rows = 2 * torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    smooth = curvature(derivative(penalised, rows))
    noise = float(spread(*pair_updates(best)).trace())
    claim = stated("with the σ² = # of the optimum and L = #, is # and #")
    assert [noise, smooth] == pytest.approx(claim[:2], abs=0.02)
    for name, bound in zip(("η = 0.8", "η = 0.2"), claim[2:], strict=True):
        eta, steps = RUNS[name].rate, len(squares[name])
        left = 2 * float(objective(best) - objective(ROW)) / (eta * steps)
        assert left + eta * smooth * noise == pytest.approx(bound, abs=0.004)
        assert float(squares[name].mean()) < bound and eta <= 1 / smooth


def test_no_noise_where_the_model_can_say_the_optimum() -> None:
    ref = REF.probability
    tilted = ref * (REF.reward / BETA).exp()
    optimum = from_probability(tilted / tilted.sum(), REF.reward)

    def noise(model: Enumerable) -> float:
        return float(spread(model.probability[PAIRS].prod(1), model.updates(RLOO, PAIRS, ref=REF)).trace())

    assert noise(REF) == pytest.approx(stated("so is the noise: from # at π_ref")[0], abs=0.005)
    assert noise(optimum) < 1e-30


@pytest.mark.parametrize("advantage", [GroupNormalised(), GroupCentred()], ids=lambda part: type(part).__name__)
@pytest.mark.parametrize("reduction", [SequenceMean(), SequenceSum()], ids=lambda part: type(part).__name__)
def test_dividing_by_the_length_leaves_no_objective(advantage: Advantage, reduction: Reduction) -> None:
    method = PolicyGradient(advantage, NoSurrogate(), NoKL(), 0.0, reduction)

    def mean(logits: Tensor) -> Tensor:
        model = at(logits)
        return like(logits, model.probability[PAIRS].prod(1) @ model.updates(method, PAIRS))

    assert torch.allclose(mean(REF.logits).flatten(), REF.expectation(method, 2), atol=1e-12)
    found = asymmetry(derivative(mean, REF.logits))
    (claim,) = stated("is # for GRPO's mean update with 1/|o|")
    assert found == pytest.approx(claim if isinstance(reduction, SequenceMean) else 0, abs=5e-4)


def test_the_note_s_dpo_is_the_gradient_of_nothing_and_goes_on() -> None:
    (claim,) = stated("# for `dpo_note`")
    assert asymmetry(derivative(preferred(NOTE), REF.logits)) == pytest.approx(claim, abs=5e-4)
    assert asymmetry(derivative(preferred(EXACT), REF.logits)) < 1e-8
    exact, norms = follow(preferred(EXACT), preferred(EXACT), REF.logits, 25, 4.0)
    assert margin(exact) == pytest.approx(log(9)) and norms[-1] < 1e-12
    logits, margins = REF.logits, list[float]()
    for steps in (8, 8, 16, 32):
        logits, _ = follow(preferred(NOTE), gain(REF.reward), logits, steps, 8.0)
        margins.append(margin(logits))
    assert margins == pytest.approx(stated("the margin is #, #, #, # after 8, 16, 32 and 64 steps"), abs=0.006)
    assert [b - a for a, b in pairwise(margins[1:])] == pytest.approx([log(2)] * 2, rel=0.1)
    assert float(at(logits).probability[4]) == pytest.approx(0.99, abs=0.005)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_small_gradient_may_be_a_plateau(place: int) -> None:
    logits, wrong = torch.zeros(3, 3, dtype=torch.float64), (4, 6, 8)[place]
    logits[:2, 0] = wrong
    right = stated("E[r] is #, # and #, and")[place]
    slope = stated('‖∇J‖ #, # and #: "converged"')[place]
    assert accuracy(logits) == pytest.approx(right, rel=0.05)
    assert float(gain(REF.reward)(logits).norm()) == pytest.approx(slope, rel=0.06)
    steps = 0
    while accuracy(logits) < 0.5:
        logits, steps = logits + 4 * gain(REF.reward)(logits), steps + 1
    assert steps == stated("take #, # and # of them to get")[place]


def test_signs_and_clipped_norms_are_biased_where_the_mean_is_nought(best: Tensor) -> None:
    chance, updates = pair_updates(best)
    assert (chance @ updates).norm() < 1e-4
    assert float((chance @ updates.sign()).norm()) == pytest.approx(stated("‖E[sign g]‖ = #")[0], abs=0.005)
    norm = updates.norm(dim=1, keepdim=True).clamp(min=1e-12)
    found = [float((chance @ (updates * (bound / norm).clamp(max=1))).norm()) for bound in (0.1, 0.3, 1.0)]
    assert found == pytest.approx(stated("‖E[clip(g)]‖ = #, # and # with"), abs=6e-4)
    cut = 100 * float(chance @ (norm[:, 0] > 1).double())
    assert cut == pytest.approx(stated("The last cuts #% of")[0], abs=0.05)


def test_stale_batches_stop_where_the_gradient_does_not(ends: dict[str, tuple[Tensor, list[float]]]) -> None:
    logits, norms = ends["PPO's clip, one batch"]
    found = [accuracy(logits), float(REF.probability @ REF.reward), norms[-1], norms[0]]
    assert found == pytest.approx(stated("stay at E[r] = #, from #, with ‖∇E[r]‖ = #, from #"), abs=0.005)
    assert CLIPPED(logits).norm() < CLIPPED(REF.logits).norm() / 10
    logits, norms = ends["RFT, rewards between"]
    assert norms[-1] == pytest.approx(stated("comes to rest with ‖∇E[r]‖ = #")[0], abs=0.005)
    assert RFT(logits).norm() < 0.005


def test_normalised_groups_rest_elsewhere(ends: dict[str, tuple[Tensor, list[float]]]) -> None:
    """Without an end a + b = 1: the accuracies are 2b(1-b) and b, and their sum is greatest at b = 3/4."""
    claim = stated("GRPO with G = 8 rests where the mean accuracy has a gradient of #, MaxRL where it has #")
    for name, expected in zip(("GRPO, two questions", "MaxRL, two questions"), claim, strict=True):
        assert ends[name][1][-1] == pytest.approx(expected, abs=5e-4)
    logits, norms = ends["GRPO, two questions"]
    assert counted(by_group)(logits).norm() < 1e-5 < norms[-1]
    plain, norms = follow(counted(lambda a, b: (1, 1)), counted(lambda a, b: (1, 1)), logits, 100, 0.5)
    assert norms[-1] < 1e-4 and accuracy(plain, FIRST) == pytest.approx(0.75, abs=1e-3)
    # log 2b(1-b) + log b is greatest at b = 2/3.
    assert accuracy(ends["MaxRL, two questions"][0], FIRST) == pytest.approx(2 / 3, abs=1e-3)


def test_a_batch_s_std_counts_alike_when_it_is_large() -> None:
    counts = [weigh(0.1, 0.5, samples) for weigh in (by_batch, by_group) for samples in (4, 8, 16)]
    claim = "counts #, # and # times one of p = 0.5 with 4, 8 and 16 samples of each; by the group's #, # and # times"
    assert [one / other for one, other in counts] == pytest.approx(stated(claim), abs=0.006)


def test_the_plot_is_drawn(
    squares: dict[str, Tensor], ends: dict[str, tuple[Tensor, list[float]]], tmp_path: Path
) -> None:
    draw(tmp_path / "convergence.svg", squares, ends)
    drawn = (tmp_path / "convergence.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<?xml") and "(convergence.svg)" in CHAPTER.read_text(encoding="utf-8")
    assert all(square.shape == (600, CHAINS) for square in squares.values())

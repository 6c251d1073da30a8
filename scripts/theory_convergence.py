"""The experiments of docs/theory/convergence.md, on models whose completions can all be listed."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import comb
from pathlib import Path

import torch
import yaml
from torch import Tensor

from rlft.algorithms import (
    DPO,
    Formula,
    GroupNormalised,
    KLInReward,
    LeaveOneOut,
    NoKL,
    NoSurrogate,
    PolicyGradient,
    PPOClip,
    RewardAdvantage,
    SequenceSum,
    WeightedLikelihood,
)
from rlft.base import Algorithm
from rlft.theory.proof.enumerable import Enumerable, completions
from rlft.theory.proof.off_policy import moments
from rlft.theory.proof.targets import worths

REF = Enumerable.draw()
ROW = REF.logits[0]
"""Logits of a model that has one row of them for all prefixes, and so cannot say every policy."""
BETA, CHAINS, STEPS = 0.2, 24, 600
RLOO = PolicyGradient(LeaveOneOut(), NoSurrogate(), KLInReward(), BETA, SequenceSum())
"""Unbiased for ∇J of J = E[r] - β·KL(π ‖ π_ref), on which the sampled steps are taken."""
PAIRS = torch.tensor(list(product(range(7), repeat=2)))
GRADED = torch.tensor([0.1, 1.0, 0.5, 0.1, 1.0, 1.0, 0.1], dtype=torch.float64)
FIRST = torch.tensor([float(c[0] == 1) for c in completions()], dtype=torch.float64)
"""Another question, asked of the same model: right if the answer begins with the second word."""
Field = Callable[[Tensor], Tensor]
"""From logits to a direction of the same shape."""


def at(logits: Tensor, reward: Tensor = REF.reward) -> Enumerable:
    """Returns the model with these logits: [..., prefixes, words], or a row [..., words] for all prefixes."""
    if logits.shape[-2:] != REF.logits.shape:
        logits = logits[..., None, :].expand(*logits.shape[:-1], *REF.logits.shape)
    return Enumerable(logits, reward)


def like(logits: Tensor, direction: Tensor) -> Tensor:
    """Returns a direction [..., prefixes · words] as one of these logits; those of a row are summed over prefixes."""
    table = direction.unflatten(-1, REF.logits.shape)
    return table if logits.shape[-2:] == REF.logits.shape else table.sum(-2)


def gain(reward: Tensor) -> Field:
    """Returns the field ∇E[reward]."""
    return lambda logits: like(logits, at(logits).gradient(reward))


START = at(ROW)
"""π_ref of the sampled steps."""


def worth(model: Enumerable) -> Tensor:
    """Returns r - β·log(π/π_ref) of each completion [..., completions]."""
    return REF.reward - BETA * (model.logp - START.logp).sum(-1)


def objective(logits: Tensor) -> Tensor:
    """Returns J = E[r] - β·KL(π ‖ π_ref), a function that can be differentiated."""
    model = at(logits)
    return (model.probability * worth(model)).sum(-1)


def penalised(logits: Tensor) -> Tensor:
    """Returns ∇J of `objective`."""
    model = at(logits)
    return like(logits, model.gradient(worth(model)))


def pair_updates(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the chance of every pair of completions [49], and the update RLOO makes of it [49, d]."""
    model = at(logits)
    return model.probability[PAIRS].prod(1), like(logits, model.updates(RLOO, PAIRS, ref=START))


def follow(field: Field, gradient: Field, start: Tensor, steps: int, rate: float) -> tuple[Tensor, list[float]]:
    """Returns the logits after so many exact steps along the field, and ‖gradient‖ before each of them."""
    logits, norms = start, list[float]()
    for _ in range(steps):
        norms.append(float(gradient(logits).norm()))
        logits = logits + rate * field(logits)
    return logits, norms


@dataclass(frozen=True)
class Run:
    """One way of taking sampled steps.

    Attributes:
        rate: η at step 0. fades: steps after which it is half as large, and a third after twice as many; 0: constant.
        adam: β1 and β2, or None for plain steps.
    """

    rate: float
    fades: float = 0.0
    adam: tuple[float, float] | None = None


RUNS: dict[str, Run] = {
    "η = 0.8": Run(0.8),
    "η = 0.2": Run(0.2),
    "η falling": Run(0.8, 15),
    "Adam, 0.1": Run(0.1, adam=(0.9, 0.999)),
    "Adam, 0.025": Run(0.025, adam=(0.9, 0.999)),
    "Adam, falling": Run(0.1, 15, (0.9, 0.999)),
    "sign, falling": Run(0.1, 15, (0.0, 0.0)),
}


def sampled(runs: dict[str, Run] = RUNS, start: Tensor = ROW, steps: int = STEPS) -> dict[str, Tensor]:
    """Returns ‖∇J‖² at every step of CHAINS independent runs of each kind [steps, CHAINS], RLOO with G = 2."""
    chains = len(runs) * CHAINS
    draw = torch.Generator().manual_seed(0)
    logits = start.expand(chains, -1)

    def each(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64).repeat_interleave(CHAINS)[:, None]

    adapts = each([float(run.adam is not None) for run in runs.values()])
    beta1, beta2 = (each([(run.adam or (0.0, 0.0))[n] for run in runs.values()]) for n in (0, 1))
    first, second, squares = torch.zeros_like(logits), torch.zeros_like(logits), list[Tensor]()
    for step in range(steps):
        squares.append(penalised(logits).square().sum(1))
        drawn = torch.multinomial(at(logits).probability, 2, replacement=True, generator=draw)
        update = like(logits, at(logits).updates(RLOO, drawn, ref=START))
        first, second = beta1 * first + (1 - beta1) * update, beta2 * second + (1 - beta2) * update**2
        scaled = (second / (1 - beta2 ** (step + 1))).sqrt() + 1e-8
        update = torch.where(adapts > 0, first / (1 - beta1 ** (step + 1)) / scaled, update)
        rates = [run.rate / (1 + (step / run.fades if run.fades else 0)) for run in runs.values()]
        logits = logits + each(rates) * update
    return dict(zip(runs, torch.stack(squares).split(CHAINS, 1), strict=True))


def mean_update(algorithm: Algorithm, reward: Tensor) -> Field:
    """Returns the mean update of a method on completions that π_ref drew once."""
    return lambda logits: moments(algorithm, at(logits, reward), at(REF.logits, reward)).mean.view_as(logits)


CLIPPED = mean_update(
    PolicyGradient(RewardAdvantage(), PPOClip(0.2, 0.2), NoKL(), 0.0, SequenceSum()), REF.reward - 0.5
)
RFT = mean_update(WeightedLikelihood(SequenceSum()), GRADED)


def counted(weigh: Callable[[float, float], tuple[float, float]]) -> Field:
    """Returns the field of two questions, REF's own and `FIRST`, if each counts as much as is said, from both
    accuracies."""

    def field(logits: Tensor) -> Tensor:
        chance = at(logits).probability
        one, other = weigh(float(chance @ REF.reward), float(chance @ FIRST))
        return gain((one * REF.reward + other * FIRST) / 2)(logits)

    return field


def by_group(one: float, other: float, samples: int = 8) -> tuple[float, float]:
    """Returns what GRPO counts two questions, from their accuracies."""
    w = [worths(GroupNormalised(), p, samples) for p in (one, other)]
    return w[0][1.0] - w[0][0.0], w[1][1.0] - w[1][0.0]


def by_batch(one: float, other: float, samples: int = 8) -> tuple[float, float]:
    """Returns what each counts if the deviation from the group's mean is divided by the std of the whole batch."""
    part, group = GroupNormalised(scale="batch"), torch.tensor([0, 1]).repeat_interleave(samples)
    total, p = [0.0, 0.0], (one, other)
    for right in product(range(samples + 1), repeat=2):
        reward = torch.tensor([float(n < right[q]) for q in (0, 1) for n in range(samples)], dtype=torch.float64)
        advantage = part.rows(reward, group).view(2, samples)
        chance = 1.0
        for q in (0, 1):
            chance *= comb(samples, right[q]) * p[q] ** right[q] * (1 - p[q]) ** (samples - right[q])
        for q in (0, 1):
            # The mean of ∇log π is ∇p/p over right answers, and -∇p/(1-p) over wrong ones.
            score = reward.view(2, samples)[q] / p[q] - (1 - reward.view(2, samples)[q]) / (1 - p[q])
            total[q] += chance * float(advantage[q] @ score) / samples
    return total[0], total[1]


RECIPES = Path(__file__).parents[1] / "recipes" / "algorithm"
NOTE = Formula(yaml.safe_load((RECIPES / "dpo_note.yaml").read_text("utf-8"))["coefficient"], reduction=SequenceSum())
PAIR, FLIPPED, EXACT = torch.tensor([[4, 3]]), 0.1, DPO(beta=1.0)
"""A right completion and a wrong one, the share of judges who prefer the wrong one, and DPO itself."""


def preferred(algorithm: Algorithm) -> Field:
    """Returns a preference method's mean update on one pair, of which some judges prefer the other."""

    def field(logits: Tensor) -> Tensor:
        ways = [(1 - FLIPPED, REF.reward), (FLIPPED, 1 - REF.reward)]
        return sum(
            (share * at(logits, reward).updates(algorithm, PAIR, REF) for share, reward in ways),
            torch.zeros(1, 9, dtype=torch.float64),
        ).view_as(logits)

    return field


def margin(logits: Tensor) -> float:
    """Returns log π(o⁺) - log π(o⁻), less what it is of π_ref."""
    good, bad = (at(logits).logp - REF.logp).sum(1)[PAIR[0]]
    return float(good - bad)


def derivative(field: Field, logits: Tensor) -> Tensor:
    """Returns A of a field by central differences [..., d, d]: with the logits' own axes as one, A[i] = ∂field/∂θ_i.

    Args:
        field: takes whatever leading axes the logits have. logits: [..., words] or [..., prefixes, words].
    """
    own = REF.logits.shape if logits.shape[-2:] == REF.logits.shape else logits.shape[-1:]
    size, h = own.numel(), 1e-5
    moves = h * torch.eye(size, dtype=logits.dtype).view(size, *own)
    columns = [(field(logits + move) - field(logits - move)).flatten(-len(own)) / (2 * h) for move in moves]
    return torch.stack(columns, -2)


def asymmetry(a: Tensor) -> float:
    """Returns ‖A - Aᵀ‖/‖A + Aᵀ‖ of a field's derivative: 0 if the field is the gradient of anything."""
    return float((a - a.T).norm() / (a + a.T).norm())


def curvature(a: Tensor) -> float:
    """Returns the greatest |eigenvalue| of Hessians [..., d, d]."""
    return float(torch.linalg.eigvalsh((a + a.mT) / 2).abs().max())

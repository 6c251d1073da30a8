"""Measures how often the intervals of `rlft compare` hold the truth, where it is known: on simulated answers.

Usage: python scripts/interval_coverage.py [DRAWS] > docs/interval_coverage.md    (10,000 draws of each cell: 2 minutes)

An answer is right where a sum of normal parts is above 0: the method's level, the question (shared by all runs), the
question for that method, the seed, and the rest. So the true accuracy is Φ(level / total deviation).
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from rlft.evaluation import crossed
from rlft.evaluation.crossed import Answers

QUESTION, METHOD, REST = 1.5, 0.7, 0.7  # deviations of the parts apart from the seed's
QUESTIONS = 200
LEVELS = {"alike": (0.5, 0.5), "apart": (0.5, 0.2), "rarely right": (-2.5, -2.8)}
NOISE = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
SEEDS = (3, 5, 10)


@dataclass(frozen=True)
class Cell:
    """What was found of two methods, in shares of the draws, and the mean widths of intervals."""

    accuracy: float
    accuracy_width: float
    difference: float
    difference_width: float
    told_apart: float


def truth(level: float, noise: float) -> float:
    """Returns the accuracy over all seeds and questions."""
    return float(ndtr(level / np.sqrt(QUESTION**2 + METHOD**2 + REST**2 + noise**2)))


def answers(levels: tuple[float, float], noise: float, seeds: int, rng: np.random.Generator) -> Iterator[Answers]:
    """Yields [S, Q] of each method."""
    shared = rng.normal(0, QUESTION, QUESTIONS)
    for level in levels:
        parts = rng.normal(0, METHOD, QUESTIONS), rng.normal(0, noise, seeds), rng.normal(0, REST, (seeds, QUESTIONS))
        yield (level + shared + parts[0] + parts[1][:, None] + parts[2] > 0).astype(np.float64)


def cell(levels: tuple[float, float], noise: float, seeds: int, draws: int, seed: int = 0) -> Cell:
    """Returns how the intervals of so many draws did."""
    rng = np.random.default_rng([seed, seeds, round(1000 * noise), *(round(1000 * (level + 10)) for level in levels)])
    true = [truth(level, noise) for level in levels]
    found = np.zeros(5)
    for _ in range(draws):
        first, second = answers(levels, noise, seeds, rng)
        one, gap = crossed.accuracy(first), crossed.difference(first, second)
        found += [
            one.low <= true[0] <= one.high, one.high - one.low,
            gap.low <= true[0] - true[1] <= gap.high, gap.high - gap.low, not gap.low <= 0 <= gap.high,
        ]  # fmt: skip
    return Cell(*(found / draws).tolist())


def main(draws: int) -> None:
    """Prints the page."""
    print("# How often the intervals hold the truth\n")
    print(f"`python scripts/interval_coverage.py {draws}` on simulated answers: as many a cell, {QUESTIONS} questions.")
    print("Intervals are of 95%; widths are in points. Seed noise is the deviation of a method's accuracy between")
    print("seeds. Two methods are told apart where the interval of their difference does not hold 0.\n")
    print("| methods | true accuracies | seed noise | seeds | accuracy: held | width | difference: held | width "
          "| told apart |\n|---|---|---:|---:|---:|---:|---:|---:|---:|")  # fmt: skip
    for name, levels in LEVELS.items():
        for noise in NOISE:
            per_seed = [truth(levels[0] + x, 0) for x in np.random.default_rng(0).normal(0, noise, 10_000)]
            true = " and ".join(f"{100 * truth(level, noise):.1f}%" for level in levels)
            for seeds in SEEDS:
                c = cell(levels, noise, seeds, draws)
                print(f"| {name} | {true} | {100 * np.std(per_seed):.1f} | {seeds} | {c.accuracy:.1%} "
                      f"| {100 * c.accuracy_width:.1f} | {c.difference:.1%} | {100 * c.difference_width:.1f} "
                      f"| {c.told_apart:.1%} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)

"""Draws the plot of docs/theory/off_policy.md, and prints its table.

Usage: python scripts/theory_plots_off_policy.py [docs/theory]
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

from theory_figure import COLOURS, figure

from rlft.algorithms import (
    NoKL,
    PolicyGradient,
    PPOClip,
    RewardAdvantage,
    SequenceSum,
    Surrogate,
    Tapered,
    WeightedLikelihood,
)
from rlft.base import Algorithm
from rlft.theory.proof.enumerable import Enumerable
from rlft.theory.proof.off_policy import climb, divergence, effective_share, moments

RATE, STEPS, BASELINE = 0.5, 40, 0.5
TABLED = (1, 3, 6, 10, 20)
"""The steps of the climb that the table shows."""


def signed(surrogate: Surrogate) -> Algorithm:
    """Returns the method that weighs r - 1/2 by this surrogate, without a KL and without 1/|o|."""
    return PolicyGradient(RewardAdvantage(), surrogate, NoKL(), 0.0, SequenceSum())


METHODS: dict[str, tuple[Algorithm, float]] = {
    "RFT: r": (WeightedLikelihood(SequenceSum()), 0.0),
    "token ratio": (signed(PPOClip(inf, inf)), BASELINE),
    "clipped": (signed(PPOClip(0.2, 0.2)), BASELINE),
    "whole ratio": (signed(PPOClip(inf, inf, "sequence")), BASELINE),
    "TOPR": (signed(Tapered()), BASELINE),
}
"""Each method, and what is taken from the rewards before it sees them."""


@dataclass(frozen=True)
class Point:
    """A policy on the way up, and what samples of the first one say of it.

    Attributes:
        accuracy: E[r]. kl: from the first policy, nats. share: of the samples that are left.
        bias: of each method, relative to ‖∇E[r]‖. variance: of one sample's update.
    """

    accuracy: float
    kl: float
    share: float
    bias: dict[str, float]
    variance: dict[str, float]


def measure(policy: Enumerable, old: Enumerable) -> Point:
    """Returns what samples of `old` say of the policy's gradient."""
    gain = policy.gradient(policy.reward)
    found = {
        name: moments(algorithm, Enumerable(policy.logits, policy.reward - baseline), old)
        for name, (algorithm, baseline) in METHODS.items()
    }
    return Point(
        float(policy.probability @ policy.reward),
        divergence(policy, old),
        effective_share(policy, old),
        {name: each.bias(gain) for name, each in found.items()},
        {name: each.variance for name, each in found.items()},
    )


def points() -> list[Point]:
    """Returns the climb from π_ref, step by step."""
    path = climb(Enumerable.draw(), STEPS, RATE)
    return [measure(policy, path[0]) for policy in path]


def table(climbed: Sequence[Point]) -> str:
    """Returns the chapter's table: bias and variance of each method at some steps."""
    rows = ["| E[r] | KL | n_eff/n | " + " | ".join(METHODS) + " |", "|---|---|---|" + "---|" * len(METHODS)]
    for point in (climbed[step] for step in TABLED):
        cells = [f"{abs(point.bias[name]):.2f}, {point.variance[name]:.2f}" for name in METHODS]
        rows.append(f"| {point.accuracy:.2f} | {point.kl:.3f} | {point.share:.2f} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def draw(path: Path, climbed: Sequence[Point]) -> None:
    """Draws bias and variance of each method against the distance from where the samples come from."""
    moved = climbed[1:]
    with figure(path, 2) as (left, right):
        for colour, name in zip(COLOURS, METHODS, strict=True):
            left.plot([p.kl for p in moved], [p.bias[name] for p in moved], color=colour, label=name)
            right.plot([p.kl for p in moved], [p.variance[name] for p in moved], color=colour, label=name)
        left.set_ylim(-0.03, 1.6)
        left.set_ylabel("bias, relative to the gradient")
        right.set_ylabel("variance of one sample's update")
        for axis in (left, right):
            axis.set_xscale("log")
            axis.set_xlabel("KL(π ‖ π_ref), nats")
        left.legend(frameon=False)


def main(words: Sequence[str]) -> None:
    """Draws into the folder that is named."""
    if len(words) > 1:
        raise SystemExit(__doc__)
    climbed = points()
    draw(Path(words[0] if words else "docs/theory") / "off_policy.svg", climbed)
    print(table(climbed))


if __name__ == "__main__":
    main(sys.argv[1:])

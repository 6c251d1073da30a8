"""Draws the plots of docs/theory.

Usage: python scripts/theory_plots.py [docs/theory]
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from theory_figure import COLOURS, figure

from rlft.algorithms import (
    Advantage,
    GroupCentred,
    GroupNormalised,
    LeaveOneOut,
    MeanRatio,
)
from rlft.theory.proof.targets import worths

SAMPLES = 8
ADVANTAGES: dict[str, Advantage] = {
    "r - mean of the others (RLOO)": LeaveOneOut(),
    "r - mean (Dr. GRPO)": GroupCentred(),
    "(r - mean)/std (GRPO)": GroupNormalised(),
    "(r - mean)/mean (MaxRL)": MeanRatio(),
}
BLUE, RED, GREEN, _, GREY = COLOURS


def weight(advantage: Advantage, p: float, samples: int = SAMPLES) -> float:
    """Returns w(p) = f(1) - f(0), how much a query that is solved with probability p counts."""
    f = worths(advantage, p, samples)
    return f[1.0] - f[0.0]


def draw(path: Path) -> None:
    """Draws w(p) of each advantage, and the limit of GRPO's for many samples."""
    places = [n / 200 for n in range(1, 200)]
    with figure(path) as (axis,):
        for colour, (name, advantage) in zip((GREY, RED, BLUE, GREEN), ADVANTAGES.items(), strict=True):
            axis.plot(places, [weight(advantage, p) for p in places], color=colour, label=name)
        axis.plot(places, [(p * (1 - p)) ** -0.5 for p in places], ":", color=BLUE, label="GRPO, many samples")
        axis.set_ylim(0, SAMPLES)
        axis.set_xlabel(f"p, the probability that an answer is right (G = {SAMPLES})")
        axis.set_ylabel("w(p), what the query counts")
        axis.legend(frameon=False)


def main(words: Sequence[str]) -> None:
    """Draws into the folder that is named."""
    if len(words) > 1:
        raise SystemExit(__doc__)
    draw(Path(words[0] if words else "docs/theory") / "grpo.svg")


if __name__ == "__main__":
    main(sys.argv[1:])

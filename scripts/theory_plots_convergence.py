"""Draws the plot of docs/theory/convergence.md.

Usage: python scripts/theory_plots_convergence.py [docs/theory]
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from theory_convergence import (
    CLIPPED,
    GRADED,
    REF,
    RFT,
    ROW,
    Field,
    by_group,
    counted,
    follow,
    gain,
    penalised,
    sampled,
)
from theory_figure import COLOURS, figure
from torch import Tensor

LIKE = ("-", ":")
BIN = 20
"""Steps that are averaged before they are drawn."""
EVEN = torch.tensor([0.0, 0.0, -20.0], dtype=torch.float64)
"""A row of logits that hardly ever ends an answer early."""
MEAN = counted(lambda one, other: (1.0, 1.0))
"""The gradient of the mean accuracy of two questions."""


def followed() -> dict[str, tuple[Tensor, list[float]]]:
    """Returns where exact steps along several fields end, and the norm, step by step, of the gradient they are meant
    to follow: of E[r], or of the mean accuracy."""
    cases: dict[str, tuple[Field, Field, Tensor, float]] = {
        "∇E[r]": (gain(REF.reward), gain(REF.reward), REF.logits, 4.0),
        "PPO's clip, one batch": (CLIPPED, gain(REF.reward), REF.logits, 0.5),
        "RFT, rewards between": (RFT, gain(GRADED), REF.logits, 2.0),
        "GRPO, two questions": (counted(by_group), MEAN, EVEN, 0.5),
        "MaxRL, two questions": (counted(lambda one, other: (1 / one, 1 / other)), MEAN, EVEN, 0.5),
    }
    return {name: follow(field, gradient, start, 100, rate) for name, (field, gradient, start, rate) in cases.items()}


def draw(path: Path, squares: Mapping[str, Tensor], ends: Mapping[str, tuple[Tensor, list[float]]]) -> None:
    """Draws ‖∇J‖ against steps: sampled ones on the left, exact ones along other fields on the right."""
    exact = follow(penalised, penalised, ROW, 100, 0.8)[1]
    with figure(path, 2) as (left, right):
        left.plot(range(1, len(exact) + 1), exact, color="#000000", label="exact")
        for n, (name, square) in enumerate(squares.items()):
            means = square.mean(1).view(-1, BIN).mean(1).sqrt()
            places = [BIN * k + BIN / 2 for k in range(len(means))]
            left.plot(places, means, LIKE[n // len(COLOURS)], color=COLOURS[n % len(COLOURS)], label=name)
        for colour, (name, (_, norms)) in zip(COLOURS, ends.items(), strict=True):
            right.plot(range(1, len(norms) + 1), norms, color=colour, label=name)
        left.set_ylabel("‖∇J‖, root of the mean square")
        right.set_ylabel("‖gradient of what is meant‖")
        for axis in (left, right):
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_xlabel("step")
        left.set_ylim(4e-3, 1)
        right.set_ylim(4e-3, 0.5)
        left.legend(frameon=False, ncols=3, fontsize=7)
        right.legend(frameon=False, fontsize=7, loc="lower left")


def main(words: Sequence[str]) -> None:
    """Draws into the folder that is named."""
    if len(words) > 1:
        raise SystemExit(__doc__)
    draw(Path(words[0] if words else "docs/theory") / "convergence.svg", sampled(), followed())


if __name__ == "__main__":
    main(sys.argv[1:])

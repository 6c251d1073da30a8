"""What docs/theory/reward_landscape.md derives, on a model small enough to enumerate, and its plot.

Usage: python scripts/theory_reward_landscape.py [docs/theory]
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log, sqrt
from pathlib import Path

import torch
from theory_figure import COLOURS, figure
from torch import Tensor

from rlft.theory.proof.enumerable import WORDS, Enumerable, completions

RIGHT, LIKED = (0, 0), (1, 1)
"""The one right completion, and a wrong one that a hackable reward likes."""
WORTH = 0.6  # of it

TIMES: dict[str, Callable[[float], float]] = {
    "J = p": lambda p: 1 / p - 1 / (1 - p) - 2 * log(p / (1 - p)),
    "J = 2·arcsin √p": lambda p: 2 * (1 - 2 * p) / sqrt(p * (1 - p)),
    "J = log p": lambda p: 2 - 1 / (1 - p) - log(p / (1 - p)),
}
"""How long gradient flow takes from p to 1/2 where log(p/(1-p)) is the one parameter, by what it climbs."""


def rewards() -> dict[str, Tensor]:
    """Returns rewards of the enumerable model's completions [completions], float64, all at most 1."""
    each = completions()
    right = torch.tensor([float(c == RIGHT) for c in each], dtype=torch.float64)
    liked = torch.tensor([float(c == LIKED) for c in each], dtype=torch.float64)
    close = torch.tensor([c.count(0) / 2 for c in each], dtype=torch.float64)
    return {"sparse": right, "dense": close, "hackable": right + WORTH * liked}


def tied(policy: Sequence[float], reward: Tensor) -> Enumerable:
    """Returns a model that draws every word from the same distribution, whatever stands before it."""
    row = torch.tensor(policy, dtype=torch.float64).log()
    return Enumerable(row.expand(WORDS, WORDS).clone(), reward)


def climb(model: Enumerable, shared: bool, steps: int, rate: float = 1.0) -> Enumerable:
    """Returns the model after gradient ascent on J in its logits; `shared` ones are one row for all prefixes."""
    for _ in range(steps):
        gradient = model.gradient(model.reward).view(WORDS, WORDS)
        if shared:
            gradient = gradient.sum(0, keepdim=True).expand(WORDS, WORDS)
        model = replace(model, logits=model.logits + rate * gradient)
    return model


def accuracy(model: Enumerable) -> float:
    """Returns the probability of the right completion."""
    return float(model.probability[completions().index(RIGHT)])


def draw(path: Path) -> None:
    """Draws the times to leave the plateau, and J on the way from one completion to another."""
    with figure(path, 2) as (left, right):
        places = [10 ** (-n / 20) for n in range(8, 81)]
        for colour, (name, time) in zip(COLOURS, TIMES.items(), strict=False):
            left.loglog(places, [time(p) for p in places], color=colour, label=name)
        left.set_xlabel("p at the start")
        left.set_ylabel("time until p = 1/2")
        left.legend(frameon=False)
        shares = [n / 100 for n in range(101)]
        for colour, (name, reward) in zip(COLOURS, rewards().items(), strict=False):
            # A thousandth ends at once, so that no logit is infinite.
            models = [tied((0.999 * a + 1e-9, 0.999 * (1 - a) + 1e-9, 0.001), reward) for a in shares]
            right.plot(shares, [float(m.probability @ m.reward) for m in models], color=colour, label=name)
        right.set_xlabel("π(first word); the rest is the second's")
        right.set_ylabel("J")
        right.legend(frameon=False)


def main(words: Sequence[str]) -> None:
    """Draws into the folder that is named."""
    if len(words) > 1:
        raise SystemExit(__doc__)
    draw(Path(words[0] if words else "docs/theory") / "reward_landscape.svg")


if __name__ == "__main__":
    main(sys.argv[1:])

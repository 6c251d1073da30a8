"""What docs/theory/curriculum.md derives and simulates, and its plot.

Usage: python scripts/theory_curriculum.py [docs/theory]
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb, sqrt
from pathlib import Path
from statistics import fmean, stdev

import torch
from scipy.special import stdtrit
from theory_figure import COLOURS, figure
from torch import Tensor

from rlft.base import Completion, Curriculum, Group, Pool, Query, Reward, generator
from rlft.data import Adaptive, NoCurriculum

SAMPLES = 8
RATE = 1.0
TARGET = 0.7  # mean pass rate over all questions
MOST = 1000  # steps

CURRICULA: dict[str, Callable[[], Curriculum]] = {
    "none": NoCurriculum,
    "adaptive": lambda: Adaptive(column="level"),
}
MIXED, ALIKE = (-4.0, 1.0, 4.0, 7.0), (1.0, 1.0, 1.0, 1.0)
"""How hard the levels are, in log-odds: from solved to hopeless, or all the same."""


def mixed_share(p: float, samples: int) -> float:
    """Returns the probability that so many answers are neither all right nor all wrong."""
    return 1 - p**samples - (1 - p) ** samples


def second_moment(p: float, samples: int) -> float:
    """Returns E[ĝ²] of RLOO's estimate for a question whose log-odds are its one parameter.

    ĝ = mean of (r - mean of the others)·(r - p), which is k(G-k)/(G(G-1)) where k of the G answers are right.
    """
    g = samples
    return sum(comb(g, k) * p**k * (1 - p) ** (g - k) * (k * (g - k) / (g * (g - 1))) ** 2 for k in range(g + 1))


@dataclass(frozen=True)
class Toy:
    """Questions of four levels, and a policy with a skill for each.

    The log-odds of a right answer are the skill of the level, and half of that of the level below, less how hard the
    level is and a little of the question's own.
    """

    hard: Sequence[float]
    each: int = 50
    prompts: int = 8

    @property
    def levels(self) -> Tensor:
        """Returns the level of each question."""
        return torch.arange(len(self.hard)).repeat_interleave(self.each)

    @property
    def slopes(self) -> Tensor:
        """Returns how the log-odds of each question grow with the skills [questions, levels]."""
        size = len(self.hard)
        return (torch.eye(size) + 0.5 * torch.diag(torch.ones(size - 1), -1)).double()[self.levels]

    def run(self, curriculum: Curriculum, seed: int) -> list[float]:
        """Returns the mean pass rate of all questions before each step, until it is TARGET or more."""
        levels, slopes = self.levels, self.slopes
        own = 0.5 * torch.randn(len(levels), generator=generator(seed, "toy"), dtype=torch.float64)
        offset = own - torch.tensor(self.hard, dtype=torch.float64)[levels]
        queries = [Query(str(i), (), metadata={"columns": {"level": int(level)}}) for i, level in enumerate(levels)]
        curriculum.bind(Pool(queries, seed, True, lambda queries, n: [], lambda line: None))
        skill, passed = torch.zeros(len(self.hard), dtype=torch.float64), list[float]()
        while True:
            p = (slopes @ skill + offset).sigmoid()
            passed.append(float(p.mean()))
            if passed[-1] >= TARGET or len(passed) > MOST:
                return passed
            step = len(passed) - 1
            rows = curriculum.next(step * self.prompts, self.prompts)
            drawn = torch.rand(self.prompts, SAMPLES, generator=generator(seed, "answers", step), dtype=torch.float64)
            right = (drawn < p[rows, None]).double()
            curriculum.observe([_group(queries[row], answers) for row, answers in zip(rows, right, strict=True)])
            k = right.sum(1)
            skill = skill + RATE * (k * (SAMPLES - k) / (SAMPLES * (SAMPLES - 1))) @ slopes[rows] / self.prompts

    def answers(self, curriculum: str, seeds: Sequence[int]) -> list[int]:
        """Returns how many answers it took to reach TARGET, for each seed."""
        each = [self.run(CURRICULA[curriculum](), seed) for seed in seeds]
        return [(len(passed) - 1) * self.prompts * SAMPLES for passed in each]


def _group(query: Query, right: Tensor) -> Group:
    rewards = tuple(Reward(float(r)) for r in right)
    return Group(query, (Completion((), ""),) * len(rewards), rewards)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Returns the mean and its 95% limits by Student's t."""
    half = float(stdtrit(len(values) - 1, 0.975)) * stdev(values) / sqrt(len(values))
    return fmean(values), fmean(values) - half, fmean(values) + half


def draw(path: Path, seeds: int = 8) -> None:
    """Draws by what shares questions are drawn, and how the toy learns."""
    with figure(path, 2) as (left, right):
        places = [n / 200 for n in range(201)]
        shares: dict[str, Callable[[float], float]] = {
            "p(1-p): two answers differ": lambda p: 4 * p * (1 - p),
            f"not all {SAMPLES} alike": lambda p: mixed_share(p, SAMPLES),
            f"√E[ĝ²], G = {SAMPLES}": lambda p: sqrt(second_moment(p, SAMPLES) / second_moment(0.5, SAMPLES)),
            "√E[ĝ²], G = 2": lambda p: sqrt(second_moment(p, 2) / second_moment(0.5, 2)),
        }
        for colour, (name, share) in zip(COLOURS, shares.items(), strict=False):
            left.plot(places, [share(p) for p in places], color=colour, label=name)
        left.set_ylim(0, 1.45)
        left.set_xlabel("p, the pass rate of a question")
        left.set_ylabel("how often it is drawn, beside p = 1/2")
        left.legend(frameon=False)
        toy = Toy(MIXED)
        for colour, name in zip(COLOURS, CURRICULA, strict=False):
            for seed in range(seeds):
                passed = toy.run(CURRICULA[name](), seed)
                xs = [toy.prompts * SAMPLES * step for step in range(len(passed))]
                right.plot(xs, passed, color=colour, lw=0.9, alpha=0.7, label=None if seed else name)
        right.set_xlabel("answers drawn")
        right.set_ylabel("mean pass rate of all questions")
        right.legend(frameon=False, loc="lower right")


def main(words: Sequence[str]) -> None:
    """Draws into the folder that is named."""
    if len(words) > 1:
        raise SystemExit(__doc__)
    draw(Path(words[0] if words else "docs/theory") / "curriculum.svg")


if __name__ == "__main__":
    main(sys.argv[1:])

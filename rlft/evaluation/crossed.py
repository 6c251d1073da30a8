"""Intervals where two things are drawn: the seeds of the runs, and the questions that every run answers.

An answer is taken as y[s, q] = accuracy + question q + seed s + rest. Questions are shared by all runs of all methods,
seeds are not: a seed of one method has nothing to do with that of another. Both are drawn from many, and intervals are
for the accuracy over all of them. A bootstrap of one within the other takes crossed draws for nested ones and comes out
too narrow or too wide, by how large the seeds' part is (Owen, "The pigeonhole bootstrap", Ann. Appl. Stat. 2007).
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit
from scipy.stats import trim_mean

from rlft.evaluation.intervals import SEEDS

Answers = NDArray[np.float64]
"""[S, Q]: 1 where seed s answered question q rightly, else 0; or a share of right answers."""


@dataclass(frozen=True)
class Estimate:
    """An accuracy or a difference of two.

    Attributes:
        value, low, high: in shares.
        p: of a difference, the two-sided probability of one as large where there is none.
        of_questions, of_seeds: the two parts of the variance of `value`; the latter is 0 with fewer than `SEEDS` seeds.
    """

    value: float
    low: float
    high: float
    p: float | None
    of_questions: float
    of_seeds: float


def accuracy(answers: Answers, level: float = 0.95) -> Estimate:
    """Returns a method's accuracy over seeds and questions.

    The limits are Wilson's, which stay within 0 and 1, at the number of independent answers that would vary as much
    (Korn and Graubard, Surv. Methodol. 24:193-201, 1998). With few seeds, of which an accuracy is often a skewed
    function, Satterthwaite's degrees of freedom are too many here: the seeds' part has its own t instead.

    Raises:
        ValueError: no seed, or fewer than two questions.
    """
    _check(answers)
    seeds, questions = answers.shape
    p = float(answers.mean())
    of_questions, of_seeds = _of_questions(answers.mean(0)), _of_seeds(answers)
    t, t_seeds = (float(stdtrit(df, 0.5 + level / 2)) for df in (questions - 1, max(1, seeds - 1)))
    variance = of_questions + (t_seeds / t) ** 2 * of_seeds
    # All right or all wrong: as many answers as there are questions.
    n = min(p * (1 - p) / variance, answers.size) if variance else questions
    middle, half = p + t * t / (2 * n), t * sqrt(p * (1 - p) / n + t * t / (4 * n * n))
    low, high = ((middle + side * half) / (1 + t * t / n) for side in (-1, 1))
    return Estimate(p, max(0.0, min(p, low)), min(1.0, max(p, high)), None, of_questions, of_seeds)


def difference(first: Answers, second: Answers, level: float = 0.95) -> Estimate:
    """Returns the accuracy of the first method less that of the second, paired by question.

    The variance is that of the paired differences over the questions, and of each method's seeds around their mean;
    the rest stands in both parts, which errs to the side of wide intervals. t has Satterthwaite's degrees of freedom
    (Biometrics Bull. 2:110-114, 1946).

    Args:
        first: [S, Q] of one method. second: [S', Q] of the other, the same questions in the same order.
        level: of confidence.

    Raises:
        ValueError: questions that are not as many, no seed, or fewer than two questions.
    """
    for answers in (first, second):
        _check(answers)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"{first.shape[1]} and {second.shape[1]} questions: the same ones are needed")
    value = float(first.mean() - second.mean())
    # Methods that answer all alike may yet differ elsewhere: no less than if one question separated them.
    of_questions = max(_of_questions(first.mean(0) - second.mean(0)), first.shape[1] ** -2)
    seeds = [(_of_seeds(answers), answers.shape[0] - 1) for answers in (first, second)]
    of_seeds = sum(part for part, _ in seeds)
    variance = of_questions + of_seeds
    parts = [(of_questions, first.shape[1] - 1), *((part, df) for part, df in seeds if df)]
    df = variance**2 / sum(part * part / df for part, df in parts)
    half = float(stdtrit(df, 0.5 + level / 2)) * sqrt(variance)
    p = 2 * float(stdtr(df, -abs(value) / sqrt(variance)))
    return Estimate(value, max(-1.0, value - half), min(1.0, value + half), p, of_questions, of_seeds)


def holm(ps: list[float]) -> list[float]:
    """Returns p-values such that calling those below α different is wrong about any with probability α at most
    (Holm, Scand. J. Stat. 6:65-70, 1979).

    >>> [round(p, 4) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, ps[i] * (len(ps) - rank)))
        adjusted[i] = largest
    return adjusted


def improvement(first: list[float], second: list[float]) -> float:
    """Returns the share of pairs of seeds, one of each method, of which the first is better; ties count half
    (Agarwal et al., arXiv 2108.13264).

    >>> improvement([0.5, 0.7], [0.5, 0.4])
    0.875
    """
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in first for b in second]
    return sum(wins) / len(wins)


def interquartile_mean(accuracies: list[float]) -> float:
    """Returns the mean of the middle half: a quarter of the seeds, rounded down, is left out at either end.

    >>> interquartile_mean([0.1, 0.5, 0.6, 0.7, 0.7])
    0.6
    """
    return float(trim_mean(accuracies, 0.25))


def _check(answers: Answers) -> None:
    if answers.ndim != 2 or answers.shape[0] < 1 or answers.shape[1] < 2:
        raise ValueError(f"answers of shape {answers.shape}: at least one seed and two questions are needed")


def _of_questions(means: Answers) -> float:
    return float(means.var(ddof=1)) / len(means)


def _of_seeds(answers: Answers) -> float:
    return float(answers.mean(1).var(ddof=1)) / answers.shape[0] if answers.shape[0] >= SEEDS else 0.0

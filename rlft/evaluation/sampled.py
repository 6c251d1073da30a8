"""What several sampled answers to a question say: how often they are right, what most of them say, whether one of k is.

A measure is a mean over questions of a value in [0, 1]. Questions are drawn from many, and answers are drawn for each
question: the variance of the values over the questions holds both draws (it is cluster sampling).
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from math import comb, sqrt
from statistics import fmean, pvariance
from typing import Any

from scipy.special import stdtrit

from rlft.evaluation.accuracy import Answer
from rlft.rewards.extract import canonical


@dataclass(frozen=True)
class Measure:
    """A mean over questions, a share, and its 95% confidence limits."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Sampled:
    """What n answers to each question came to.

    Attributes:
        n: answers per question.
        average: avg@n, the share of right answers.
        majority: maj@n; None where the verifier reads no answer out of any completion.
        passes: k → pass@k, for `powers(n)`.
        cut_share: of all answers, those that were cut off at the limit.
    """

    n: int
    average: Measure
    majority: Measure | None
    passes: dict[int, Measure]
    cut_share: float

    def as_dict(self) -> dict[str, Any]:
        """Returns it as plain values; the keys of "pass" are text, as in JSON."""
        return {
            "samples": self.n,
            "avg": asdict(self.average),
            "maj": self.majority and asdict(self.majority),
            "pass": {str(k): asdict(measure) for k, measure in self.passes.items()},
            "cut_share": self.cut_share,
        }


def summarise(rows: Sequence[Sequence[Answer]], level: float = 0.95) -> Sampled:
    """Returns the measures of n answers to each of the questions.

    Args:
        rows: for every question its answers, equally many, one at least.
        level: of confidence.

    Raises:
        ValueError: there is no question, or they have not equally many answers.
    """
    counts = {len(row) for row in rows}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"{len(rows)} questions with {sorted(counts)} answers: equally many are needed, one at least")
    (n,) = counts
    right = [sum(answer.correct for answer in row) for row in rows]
    voted = any(answer.extracted is not None for row in rows for answer in row)
    return Sampled(
        n=n,
        average=_measure([c / n for c in right], level),
        majority=_measure([vote(row) for row in rows], level) if voted else None,
        passes={k: _measure([pass_at_k(n, c, k) for c in right], level) for k in powers(n)},
        cut_share=fmean(not answer.finished for row in rows for answer in row),
    )


def record(row: Sequence[Answer]) -> dict[str, Any]:
    """Returns what is written of one question: how many of its answers are right, what their vote is worth, and each of
    them."""
    answers = [answer.as_dict() for answer in row]
    question = {key: answers[0][key] for key in ("id", "question", "gold", "earlier")}
    counts = {"right": sum(answer.correct for answer in row), "majority": vote(row)}
    return question | counts | {"answers": [{k: v for k, v in a.items() if k not in question} for a in answers]}


def pass_at_k(n: int, right: int, k: int) -> float:
    """Returns the unbiased estimate of the probability that one of k answers is right, from n of which `right` are:
    1 - C(n-right, k) / C(n, k) (Chen et al., arXiv 2107.03374, Eq. 1).

    The counts of subsets are whole numbers of any size, so nothing is rounded but the quotient.

    Raises:
        ValueError: unless 0 <= right <= n and 1 <= k <= n.

    >>> pass_at_k(4, 1, 2)  # 3 of the 6 pairs hold the right one
    0.5
    """
    if not 0 <= right <= n or not 1 <= k <= n:
        raise ValueError(f"no pass@{k} from {right} right answers of {n}")
    subsets = comb(n, k)
    return (subsets - comb(n - right, k)) / subsets


def powers(n: int) -> list[int]:
    """Returns 1, 2, 4, … up to n.

    >>> powers(6)
    [1, 2, 4]
    """
    return [1 << i for i in range(n.bit_length())]


def vote(answers: Sequence[Answer]) -> float:
    """Returns the probability that the answer most completions give is right, a tie being decided by lot.

    Answers that differ only in spelling are one (72, 72.0 and $72); a completion out of which no answer was read does
    not vote; where none votes there is no answer, which is wrong. Where spellings of one answer were judged unequally,
    it is right to the share of its votes that are.

    >>> def says(text, right=False):
    ...     return Answer("", "", "", None, text, right, True, 0)
    >>> vote([says("72", True), says("72.0", True), says("70"), says("70"), says(None)])
    0.5
    """
    votes: dict[Hashable, list[bool]] = defaultdict(list)
    for answer in answers:
        if answer.extracted is not None:
            votes[canonical(answer.extracted)].append(answer.correct)
    most = max(map(len, votes.values()), default=0)
    return fmean([fmean(judged) for judged in votes.values() if len(judged) == most] or [0.0])


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Returns confidence limits for the mean of values in [0, 1], one per question.

    Two questions that are all right and two that are all wrong are added, and Student's t taken of them all: for values
    of 0 and 1 alone that is the interval of Agresti and Coull (Am. Stat. 52:119-126, 1998) but for t. It keeps a width
    where all questions came out alike, and allows for the rare questions that are unlike those that were asked, which
    the variance of the values alone does not. Simulated with 8 answers to each of 2 to 100 questions of ten kinds, the
    limits held the true avg@8 and pass@k in at least 94.8% of the draws.

    Args:
        values: one per question, one at least.
        level: of confidence.

    Raises:
        ValueError: no value, or one outside [0, 1].
    """
    if not values or not all(0 <= value <= 1 for value in values):
        raise ValueError("no interval: values from 0 to 1 are needed, at least one")
    return interval_of(fmean(values), pvariance(values), len(values), level)


def interval_of(mean: float, spread: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Returns the limits of `interval` for n values of which only the mean and the variance (over n) are known."""
    size, right, wrong = n + 4, 1 - mean, -mean
    shift = 2 * (right + wrong) / size  # of the mean, by the four that are added
    squares = n * spread + 2 * right**2 + 2 * wrong**2 - size * shift**2
    half = float(stdtrit(size - 1, 0.5 + level / 2)) * sqrt(squares / (size - 1) / size)
    return max(0.0, mean + shift - half), min(1.0, mean + shift + half)


def _measure(values: list[float], level: float) -> Measure:
    return Measure(fmean(values), *interval(values, level))

"""Confidence intervals of accuracies, by the score method: they hold for small samples and at 0 and 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

SEEDS = 3  # fewer say too little of how much seeds differ: their part of the variance is then left out


@dataclass(frozen=True)
class Difference:
    """A difference of two accuracies, from -1 to 1, and its confidence limits."""

    value: float
    low: float
    high: float


def wilson(correct: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Returns the score interval of an accuracy of `correct` out of `n` (E. B. Wilson, J. Am. Stat. Assoc. 1927).

    (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n), where p = correct/n and z is the normal quantile.

    Raises:
        ValueError: unless 0 <= correct <= n, n >= 1 and 0 < level < 1.

    >>> [round(limit, 3) for limit in wilson(81, 263)]
    [0.255, 0.366]
    """
    if not 0 <= correct <= n or n < 1 or not 0 < level < 1:
        raise ValueError(f"no interval for {correct} of {n} at level {level}")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    p = correct / n
    middle = p + z * z / (2 * n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At 0 and at n a limit is p itself; rounding must not carry it past that.
    return max(0.0, min(p, (middle - half) / scale)), min(1.0, max(p, (middle + half) / scale))


def paired_difference(before: Sequence[float | bool], after: Sequence[float | bool], level: float = 0.95) -> Difference:
    """Returns accuracy after less accuracy before, on the same questions, with Newcombe's paired score interval
    (Stat. Med. 17:2635-2650, 1998, method 10).

    The Wilson limits of the two accuracies are combined as for independent ones, less what their correlation φ takes
    away; φ is that of the 2x2 table, with the continuity correction that keeps it from being overrated.

    Args:
        before: right (1, True) or wrong (0, False) per question.
        after: the same questions in the same order.
        level: of confidence.

    Raises:
        ValueError: if the lengths differ, there is no question, or a value is neither 0 nor 1.
    """
    if len(before) != len(after) or not before:
        raise ValueError(f"{len(before)} questions before, {len(after)} after: the same ones are needed, at least one")
    if not {*before, *after} <= {0, 1}:
        raise ValueError("right is 1 and wrong is 0; other values are no accuracy")
    n = len(before)
    both = sum(1 for old, new in zip(before, after, strict=True) if old and new)
    right_before, right_after = int(sum(before)), int(sum(after))
    p1, p2 = right_after / n, right_before / n
    low1, high1 = wilson(right_after, n, level)
    low2, high2 = wilson(right_before, n, level)
    phi = _correlation(both, right_after - both, right_before - both, n - right_after - right_before + both)
    down = sqrt(max(0.0, (p1 - low1) ** 2 - 2 * phi * (p1 - low1) * (high2 - p2) + (high2 - p2) ** 2))
    up = sqrt(max(0.0, (high1 - p1) ** 2 - 2 * phi * (high1 - p1) * (p2 - low2) + (p2 - low2) ** 2))
    value = (right_after - right_before) / n
    return Difference(value, value - down, value + up)


def _correlation(both: int, only_after: int, only_before: int, neither: int) -> float:
    """Returns φ of the 2x2 table with method 10's correction: n/2 off a positive numerator, but not below 0."""
    a, b, c, d = both, only_after, only_before, neither
    product = (a + b) * (c + d) * (a + c) * (b + d)
    if product == 0:
        return 0.0
    numerator = a * d - b * c
    if numerator > 0:
        numerator = max(numerator - (a + b + c + d) / 2, 0)
    return numerator / sqrt(product)

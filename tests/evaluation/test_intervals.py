"""Intervals of accuracies, against values computed elsewhere and by hand."""

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlft.evaluation.intervals import Difference, paired_difference, wilson


def table(a: int, b: int, c: int, d: int) -> Difference:
    """Returns the difference for a questions right both times, b after only, c before only and d never."""
    before = [1] * a + [0] * b + [1] * c + [0] * d
    after = [1] * a + [1] * b + [0] * c + [0] * d
    return paired_difference(before, after)


def test_wilson_by_hand() -> None:
    # 8 of 10, z = 2 (level 0.9545): middle 0.8 + 4/20 = 1.0, half 2 sqrt(0.16/10 + 4/400) = 2 sqrt(0.026), scale 1.4
    low, high = wilson(8, 10, level=0.954499736)
    assert low == pytest.approx((1.0 - 2 * sqrt(0.026)) / 1.4, abs=1e-8)
    assert high == pytest.approx((1.0 + 2 * sqrt(0.026)) / 1.4, abs=1e-8)


def test_wilson_at_the_ends() -> None:
    # 0 of n: from 0 to z²/(n + z²), with z² = 3.841459
    low, high = wilson(0, 20)
    assert low == 0.0 and high == pytest.approx(3.841459 / 23.841459, abs=1e-6)
    low, high = wilson(20, 20)
    assert high == 1.0 and low == pytest.approx(20 / 23.841459, abs=1e-6)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_accuracy_and_mirrors(case: tuple[int, int]) -> None:
    correct, n = case
    low, high = wilson(correct, n)
    assert 0 <= low <= correct / n <= high <= 1 and low < high
    assert wilson(n - correct, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)
    assert wilson(correct, n, 0.99)[0] <= low and wilson(correct, n, 0.99)[1] >= high


@pytest.mark.parametrize(
    ("cells", "value", "low", "high"),
    [
        # R's contingencytables, Newcombe_square_and_add_CI_paired_2x2(bentur_2009)
        ((1, 1, 7, 12), -6 / 21, -0.507, -0.026),
        # Altman et al., Statistics with Confidence (2000), Table 6.2
        ((14, 5, 0, 22), 5 / 41, 0.011, 0.226),
    ],
)
def test_the_paired_interval_of_published_tables(
    cells: tuple[int, int, int, int], value: float, low: float, high: float
) -> None:
    difference = table(*cells)
    assert difference.value == pytest.approx(value)
    assert (difference.low, difference.high) == pytest.approx((low, high), abs=5e-4)


def test_the_paired_interval_by_hand() -> None:
    # a=36 b=12 c=2 d=0: ad - bc = -24, no correction; φ = -24 / sqrt(48·2·38·12)
    phi = -24 / sqrt(48 * 2 * 38 * 12)
    (l1, u1), (l2, u2) = wilson(48, 50), wilson(38, 50)
    down = sqrt((0.96 - l1) ** 2 - 2 * phi * (0.96 - l1) * (u2 - 0.76) + (u2 - 0.76) ** 2)
    up = sqrt((u1 - 0.96) ** 2 - 2 * phi * (u1 - 0.96) * (0.76 - l2) + (0.76 - l2) ** 2)
    difference = table(36, 12, 2, 0)
    assert difference.value == pytest.approx(0.2)
    assert (difference.low, difference.high) == pytest.approx((0.2 - down, 0.2 + up), abs=1e-12)


def test_a_positive_correlation_is_corrected_and_never_turned() -> None:
    # a=3 b=2 c=2 d=3: ad - bc = 5 = n/2, so the correction leaves 0: the limits are those of independent samples
    (low, high) = wilson(5, 10)
    difference = table(3, 2, 2, 3)
    assert difference.high == pytest.approx(sqrt((high - 0.5) ** 2 + (0.5 - low) ** 2))
    # one answer moved the other way makes ad - bc smaller than n/2: still 0, not negative
    assert table(3, 2, 3, 3).high == pytest.approx(
        -1 / 11 + sqrt((wilson(5, 11)[1] - 5 / 11) ** 2 + (6 / 11 - wilson(6, 11)[0]) ** 2)
    )


cells = st.tuples(*[st.integers(0, 40)] * 4).filter(lambda c: sum(c) > 0)


@given(cells)
def test_the_paired_interval_is_sound(case: tuple[int, int, int, int]) -> None:
    a, b, c, d = case
    difference, mirrored = table(a, b, c, d), table(a, c, b, d)
    assert -1 - 1e-9 <= difference.low <= difference.value <= difference.high <= 1 + 1e-9
    assert (mirrored.low, mirrored.high) == pytest.approx((-difference.high, -difference.low), abs=1e-12)


def test_no_difference_has_an_interval_around_it() -> None:
    same = paired_difference([True, False] * 100, [True, False] * 100)
    assert same.value == 0 and same.low < 0 < same.high


@pytest.mark.parametrize(("before", "after"), [([1], [1, 0]), ([], []), ([0.5], [1])])
def test_what_is_no_paired_accuracy_is_refused(before: list[float], after: list[float]) -> None:
    with pytest.raises(ValueError):
        paired_difference(before, after)


@pytest.mark.parametrize(("correct", "n", "level"), [(-1, 5, 0.95), (6, 5, 0.95), (0, 0, 0.95), (1, 2, 1.0)])
def test_what_is_no_accuracy_is_refused(correct: int, n: int, level: float) -> None:
    with pytest.raises(ValueError):
        wilson(correct, n, level)

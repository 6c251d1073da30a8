"""Intervals over seeds and questions, by hand and on simulated answers whose truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from interval_coverage import LEVELS, cell

from rlft.evaluation import crossed

SOME = np.tile(np.array([[1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0]], dtype=np.float64), 3)
NONE = np.zeros((3, 12))


def answers(seeds: int, questions: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float64, (seeds, questions), elements=st.sampled_from([0.0, 1.0]))


def test_a_difference_by_hand() -> None:
    e = crossed.difference(SOME, NONE)
    # Questions: means 1, 2/3, 1/3, 0, thrice; deviations ±1/2, ±1/6; variance 3 (2/4 + 2/36) / 11 = 5/33, over 12.
    # Seeds: means 1/2, 3/4, 1/4; variance 1/16, over 3 seeds. The other method's seeds do not vary.
    assert (e.value, e.of_questions, e.of_seeds) == pytest.approx((0.5, 5 / 396, 1 / 48))
    # Satterthwaite: (0.01263 + 0.02083)² / (0.01263²/11 + 0.02083²/2) = 4.84, between t(4) = 2.776 and t(5) = 2.571
    assert 2.571 < (0.5 - e.low) / (5 / 396 + 1 / 48) ** 0.5 < 2.776 and e.high - 0.5 == pytest.approx(0.5 - e.low)
    # t = 0.5 / 0.18292 = 2.7335: its two-sided p is 0.0522 at 4 degrees of freedom and 0.0411 at 5
    assert e.p is not None and 0.0411 < e.p < 0.0522


def test_an_accuracy_by_hand() -> None:
    e = crossed.accuracy(SOME)
    # t(11) = 2.2010 for the questions, t(2) = 4.3027 for the seeds: variance 5/396 + 1.9549² / 48 = 0.092244,
    # as 0.25 / 0.092244 = 2.7102 answers; Wilson at p = 1/2: half = t / 2 / sqrt(n + t²) = 1.1005 / 2.7486
    assert (e.value, e.low, e.high) == pytest.approx((0.5, 0.5 - 0.4004, 0.5 + 0.4004), abs=1e-4)


def test_all_right_is_an_interval_of_as_many_answers_as_questions() -> None:
    e = crossed.accuracy(np.ones((3, 100)))
    assert e.high == 1.0 and e.low == pytest.approx(100 / (100 + 1.984**2), abs=1e-4)  # n / (n + t²)


def test_few_seeds_have_no_part_in_the_variance() -> None:
    e = crossed.difference(SOME[:2], NONE[:2])
    assert e.of_seeds == 0 and crossed.accuracy(SOME[:1]).of_seeds == 0
    assert crossed.difference(SOME, NONE[:1]).of_seeds == pytest.approx(1 / 48)


def test_methods_that_answer_alike_differ_by_a_question_at_most_as_far_as_is_known() -> None:
    e = crossed.difference(SOME[:1].repeat(3, 0), SOME[:1].repeat(3, 0))
    assert e.value == 0 and e.p == 1 and e.high == -e.low == pytest.approx(2.2010 / 12, abs=1e-4)  # t(11) / Q


@given(answers(3, 12), answers(4, 12))
def test_the_other_way_round_is_the_same_with_the_sign_turned(first: np.ndarray, second: np.ndarray) -> None:
    a, b = crossed.difference(first, second), crossed.difference(second, first)
    assert (a.value, a.low, a.high, a.p) == pytest.approx((-b.value, -b.high, -b.low, b.p))
    # the interval and the p-value say the same, but for the edge of what a share can be
    assert a.p is not None and (a.p < 0.05) == (a.low > 0 or a.high < 0)


@given(answers(3, 12), st.permutations(range(12)), st.permutations(range(3)))
def test_the_order_of_questions_and_of_seeds_says_nothing(first: np.ndarray, q: list[int], s: list[int]) -> None:
    other = np.zeros((3, 12))
    other[:, :5] = 1
    a, b = crossed.difference(first, other), crossed.difference(first[s][:, q], other[:, q])
    assert (a.low, a.high) == pytest.approx((b.low, b.high))
    assert 0 <= crossed.accuracy(first).low <= first.mean() <= crossed.accuracy(first).high <= 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lets_no_p_fall_and_keeps_their_order(ps: list[float]) -> None:
    adjusted = crossed.holm(ps)
    assert all(min(1.0, p) <= q <= 1 for p, q in zip(ps, adjusted, strict=True))
    order = sorted(range(len(ps)), key=ps.__getitem__)
    assert [adjusted[i] for i in order] == sorted(adjusted)
    assert adjusted[order[0]] == min(1.0, len(ps) * ps[order[0]])


@pytest.mark.parametrize("levels", LEVELS.values(), ids=LEVELS.keys())
@pytest.mark.parametrize(("noise", "seeds"), [(0.0, 3), (0.4, 3), (0.8, 5)])
def test_intervals_hold_the_truth_as_often_as_they_say(levels: tuple[float, float], noise: float, seeds: int) -> None:
    found = cell(levels, noise, seeds, draws=400)
    # 95% and more of all; of 400 draws 92.8% is two deviations below that
    assert found.difference >= 0.928 and found.accuracy >= 0.928
    if levels[0] == levels[1]:
        assert found.told_apart <= 0.072


@pytest.mark.parametrize("shape", [(0, 4), (3, 1), (4,)])
def test_what_is_no_table_of_answers_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least one seed and two questions"):
        crossed.accuracy(np.zeros(shape))
    with pytest.raises(ValueError, match="3 and 12 questions"):
        crossed.difference(np.zeros((3, 3)), NONE)

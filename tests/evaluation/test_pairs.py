"""Pair accuracy, and an interval for answers that stand together."""

from math import sqrt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from rlft.evaluation.pairs import Compared, clustered, measures, sentence


def pair(question: str, right: float, wrong: float, weaker: bool | None = None) -> Compared:
    return Compared(question, f"{question}?", "yes", "no", right, wrong, weaker=weaker)


def test_a_pair_is_right_wrong_or_a_draw() -> None:
    assert [pair("q", a, b).correct for a, b in ((2, 1), (1, 2), (1, 1))] == [1.0, 0.0, 0.5]
    assert pair("q", 2, 1).as_dict()["correct"] == 1.0


def test_the_parts_are_told_apart() -> None:
    pairs = [
        pair("a", 2, 1, True), pair("a", 1, 2, False), pair("b", 2, 1, True), pair("b", 2, 1, False),
        pair("c", 1, 2, True), pair("c", 2, 1, False), pair("c", 3, 1), pair("d", 1, 1, False),
    ]  # fmt: skip
    found = measures(pairs)
    assert (found["n"], found["questions"], found["pair_accuracy"]) == (8, 4, 5.5 / 8)
    weaker, stronger = found["right_from_weaker"], found["right_from_stronger"]
    assert (weaker["n"], weaker["questions"], weaker["pair_accuracy"]) == (3, 3, 2 / 3)
    assert (stronger["n"], stronger["questions"], stronger["pair_accuracy"]) == (4, 4, 2.5 / 4)
    assert found["writer_accuracy"] == pytest.approx(4 / 7)
    text = sentence(found)
    assert "held-out pair accuracy 68.8% [" in text and "of 8 pairs of 4 questions" in text
    assert "where the weaker writer is right 66.7% [" in text and "stronger writer: 57.1% of all" in text


def test_nothing_is_said_of_writers_that_are_unknown_or_of_one_question() -> None:
    found = measures([pair("a", 2, 1), pair("b", 1, 2)])
    assert found["right_from_weaker"] is None and found["writer_accuracy"] is None
    assert sentence(found).endswith("of 2 pairs of 2 questions")
    one = measures([pair("a", 2, 1, True), pair("b", 1, 2, False)])
    assert one["right_from_weaker"] is None and one["writer_accuracy"] == 0.5
    with pytest.raises(ValueError, match="1 clusters"):
        measures([pair("a", 2, 1)])


def test_an_interval_by_hand() -> None:
    """x = 3, 1, 0 of n = 4, 1, 3: p = 1/2, residuals 1, 1/2, -3/2; variance 3/2·(1 + 1/4 + 9/4)/64 = 21/256."""
    t = float(stdtrit(2, 0.975))
    n = 0.25 / (21 / 256)
    half = t * sqrt(0.25 / n + t * t / (4 * n * n)) / (1 + t * t / n)
    value, low, high = clustered([[1, 1, 1, 0], [1], [0, 0, 0]])
    assert (value, low, high) == pytest.approx((0.5, 0.5 - half, 0.5 + half))


def test_all_right_is_as_sure_as_so_many_questions() -> None:
    t = float(stdtrit(3, 0.975))
    assert clustered([[1, 1]] * 4) == pytest.approx((1.0, 1 / (1 + t * t / 4), 1.0))


ANSWERS = st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=5), min_size=2, max_size=20)


@given(answers=ANSWERS)
def test_limits_stay_within_0_and_1_and_around_the_share(answers: list[list[float]]) -> None:
    value, low, high = clustered(answers)
    assert 0 <= low <= value <= high <= 1
    assert clustered(reversed(answers)) == pytest.approx((value, low, high))


@given(answers=st.lists(st.sampled_from([0.0, 1.0]), min_size=4, max_size=30))
def test_answers_said_twice_make_nothing_surer(answers: list[Any]) -> None:
    if 0 < sum(answers) < len(answers):
        once, twice = clustered([[a] for a in answers]), clustered([[a, a] for a in answers])
        assert twice == pytest.approx(once)


def test_an_empty_cluster_is_refused() -> None:
    with pytest.raises(ValueError, match="2 clusters"):
        clustered([[1], []])

"""avg@n, maj@n and pass@k, on counts and votes worked out by hand."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from math import sqrt
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from rlft.evaluation.accuracy import Answer
from rlft.evaluation.sampled import interval, pass_at_k, powers, record, summarise, vote


def answer(said: str | None, right: bool = False, finished: bool = True) -> Answer:
    return Answer("id", "q", f"It is {said}.", "72", said, right, finished, 5)


def row(*answers: str | None, gold: str = "72") -> list[Answer]:
    return [answer(said, said == gold) for said in answers]


COUNTS = st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))


@pytest.mark.parametrize(
    ("n", "right", "k", "expected"),
    [
        (5, 0, 3, 0.0),
        (5, 5, 1, 1.0),
        (4, 1, 1, 1 / 4),
        (4, 2, 2, 5 / 6),  # of the 6 pairs one holds no right answer
        (10, 3, 4, 5 / 6),  # C(7, 4)/C(10, 4) = 35/210
        (10, 7, 4, 1.0),  # 3 wrong ones do not fill 4 places
        (5000, 1, 2500, 0.5),  # its binomials have 1,500 digits: no float holds them
    ],
)
def test_pass_at_k_by_hand(n: int, right: int, k: int, expected: float) -> None:
    assert pass_at_k(n, right, k) == expected


@given(COUNTS)
def test_pass_at_k_is_the_share_of_subsets_with_a_right_answer(case: tuple[int, int, int]) -> None:
    n, right, k = case
    subsets = list(combinations([True] * right + [False] * (n - right), k))
    assert pass_at_k(n, right, k) == float(Fraction(sum(map(any, subsets)), len(subsets)))


@given(COUNTS)
def test_pass_at_k_begins_at_the_average_and_grows_with_k_and_with_right_answers(case: tuple[int, int, int]) -> None:
    n, right, k = case
    assert pass_at_k(n, right, 1) == right / n
    if k < n:
        assert pass_at_k(n, right, k) <= pass_at_k(n, right, k + 1)
    if right < n:
        assert pass_at_k(n, right, k) <= pass_at_k(n, right + 1, k)


@pytest.mark.parametrize("case", [(3, 4, 1), (3, -1, 1), (3, 1, 0), (3, 1, 4)])
def test_pass_at_k_of_impossible_counts(case: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no pass@"):
        pass_at_k(*case)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (row("72", "72", "70"), 1.0),
        (row("72", "70", "70"), 0.0),
        (row("72", "70"), 1 / 2),
        (row("72", "70", "71"), 1 / 3),
        (row("72", "72", "70", "70", "71"), 1 / 2),
        (row(None, None, "72"), 1.0),  # what gives no answer does not vote
        (row(None, None), 0.0),
        # One answer in three spellings has three votes, two other answers have two each.
        ([*row("70", "70", "71", "71"), *(answer(said, True) for said in ("72", "72.0", "$72"))], 1.0),
        ([*row("70", "70"), *(answer(said, True) for said in ("3/4", "\\frac{3}{4}", "0.75"))], 1.0),
        ([*row("Rome", "rome.", "Rome"), *row("72", "72")], 0.0),
        # A format that counts: of the three who say 72, two are taken for right.
        ([answer("72", True), answer("72", True), answer("72"), answer("70")], 2 / 3),
    ],
)
def test_a_vote_by_hand(answers: list[Answer], expected: float) -> None:
    assert vote(answers) == pytest.approx(expected, abs=1e-15)


@given(st.lists(st.sampled_from(["72", "70", "7", None]), min_size=1, max_size=9), st.randoms())
def test_a_vote_is_of_the_answers_in_any_order(said: list[str | None], shuffled: Random) -> None:
    answers = row(*said)
    value = vote(answers)
    ties = [text for text in ("72", "70", "7") if said.count(text) == max(map(said.count, ("72", "70", "7"))) > 0]
    assert value == pytest.approx(("72" in ties) / max(1, len(ties)))
    shuffled.shuffle(answers)
    assert vote(answers) == pytest.approx(value)


def test_the_measures_of_three_questions() -> None:
    """Right answers: 4, 1 and 0 of 4; pass@2 of one right in four is 1 - 3/6."""
    rows = [row("72", "72", "72", "72"), row("72", "70", "70", "71"), row(None, "70", "7", "7")]
    rows[2][0] = answer(None, finished=False)
    found = summarise(rows)
    assert found.n == 4 and found.cut_share == 1 / 12
    assert found.average.value == pytest.approx(5 / 12)
    assert found.majority is not None and found.majority.value == pytest.approx(1 / 3)
    assert {k: measure.value for k, measure in found.passes.items()} == pytest.approx({1: 5 / 12, 2: 1 / 2, 4: 2 / 3})
    plain = found.as_dict()
    assert plain["pass"]["2"] == {"value": 0.5, "low": plain["pass"]["2"]["low"], "high": plain["pass"]["2"]["high"]}
    assert plain["avg"]["low"] < 5 / 12 < plain["avg"]["high"] and plain["samples"] == 4


def test_there_is_no_vote_where_no_answer_is_read_out() -> None:
    found = summarise([[answer(None, True), answer(None)], [answer(None), answer(None)]])
    assert found.majority is None and found.as_dict()["maj"] is None
    assert found.average.value == 0.25


@pytest.mark.parametrize("rows", [[], [[]], [row("72"), row("72", "70")]])
def test_questions_with_unequal_answers_are_refused(rows: list[list[Answer]]) -> None:
    with pytest.raises(ValueError, match="equally many"):
        summarise(rows)


def test_a_record_holds_the_question_once_and_every_answer() -> None:
    written = record(row("72", "70"))
    assert {key: written[key] for key in ("id", "question", "gold", "right", "majority")} == {
        "id": "id", "question": "q", "gold": "72", "right": 1, "majority": 0.5,
    }  # fmt: skip
    assert written["answers"][1] == {
        "text": "It is 70.", "extracted": "70", "correct": False, "finished": True, "tokens": 5,
    }  # fmt: skip


def test_powers() -> None:
    assert [powers(n) for n in (1, 2, 7, 8)] == [[1], [1, 2], [1, 2, 4], [1, 2, 4, 8]]


def test_the_interval_by_hand() -> None:
    """0.5 and 1 with 0, 0, 1 and 1: mean 3.5/6, squares 3.25 - 6 (3.5/6)² = 29/24 over 5, over 6."""
    half = float(stdtrit(5, 0.975)) * sqrt(29 / 24 / 5 / 6)
    assert interval([0.5, 1.0]) == pytest.approx((7 / 12 - half, min(1, 7 / 12 + half)))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_the_interval_holds_the_mean_has_a_width_and_mirrors(values: list[float]) -> None:
    low, high = interval(values)
    mean = sum(values) / len(values)
    assert 0 <= low <= mean + 1e-12 and mean - 1e-12 <= high <= 1 and high - low > 1 / (len(values) + 4)
    assert interval([1 - value for value in values]) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@pytest.mark.parametrize("values", [[], [0.5, 1.1], [-0.1], [float("nan")]])
def test_the_interval_of_no_shares_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        interval(values)


KINDS = {
    "of all kinds": lambda draw, shape: draw.beta(0.3, 0.7, shape),
    "solved or not": lambda draw, shape: draw.beta(0.05, 0.05, shape),
    "all hard": lambda draw, shape: np.full(shape, 0.02),
    "a few that are not solved": lambda draw, shape: 0.97 * (draw.random(shape) > 0.02),
    "a few that are": lambda draw, shape: np.where(draw.random(shape) < 0.05, 1.0, 0.01),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_interval_covers_the_true_pass_at_k(kind: str) -> None:
    """400 draws each: at a coverage of 95% fewer than 92.5% would be a chance of 2%."""
    draw, n = np.random.default_rng(0), 8
    everyone = KINDS[kind](draw, 200_000)
    for questions in (10, 60):
        right = draw.binomial(n, KINDS[kind](draw, (400, questions)))
        for k in (1, 4):
            truth = float((1 - (1 - everyone) ** k).mean())
            value: Sequence[float] = [pass_at_k(n, c, k) for c in range(n + 1)]
            limits = [interval([value[c] for c in asked]) for asked in right]
            assert np.mean([low <= truth <= high for low, high in limits]) >= 0.925, (questions, k)

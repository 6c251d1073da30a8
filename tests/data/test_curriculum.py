"""Orders of questions: what is drawn, in what order, and what is refused."""

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlft.base import Completion, Group, Pool, Query, Reward, UserError
from rlft.data import Adaptive, Levels, NoCurriculum, Sorted
from rlft.data.curriculum.graded import buckets
from rlft.data.curriculum.weighted import draw

GRADES = st.lists(st.integers(0, 5), min_size=1, max_size=30)


def pool(levels: list[int], seed: int = 0, shuffle: bool = True, said: list[str] | None = None, **options: Any) -> Pool:
    """Questions q0, q1, … of these levels."""
    queries = [Query(f"q{i}", (), metadata={"row": i, "level": level}) for i, level in enumerate(levels)]
    measure = options.get("measure", lambda queries, count: [0.0] * len(queries))
    return Pool(queries, seed, shuffle, measure, (said if said is not None else []).append)


def with_column(values: list[Any]) -> Pool:
    queries = [Query(f"q{i}", (), metadata={"row": i, "columns": {"hard": value}}) for i, value in enumerate(values)]
    return Pool(queries, 0, True, lambda queries, count: [], lambda line: None)


def answered(query: str, *values: float | None) -> Group:
    """A group with these rewards; None is an error."""
    rewards = [Reward(0.0, error="timeout") if value is None else Reward(value) for value in values]
    return Group(Query(query, ()), (Completion((1,), ""),) * len(rewards)).scored(rewards)


def bound(curriculum: Any, of: Pool) -> Any:
    curriculum.bind(of)
    return curriculum


@given(GRADES, st.integers(0, 3), st.integers(1, 40))
def test_sorted_goes_from_easy_to_hard_once_an_epoch(levels: list[int], seed: int, cut: int) -> None:
    size = len(levels)
    curriculum = bound(Sorted(), pool(levels, seed))
    for epoch in (0, 1):
        rows = curriculum.next(epoch * size, size)
        assert sorted(rows) == list(range(size))
        assert [levels[row] for row in rows] == sorted(levels)
        assert curriculum.metrics() == {"difficulty": pytest.approx(sum(levels) / size)}
    whole = curriculum.next(0, cut + 7)
    again = bound(Sorted(), pool(levels, seed))
    assert again.next(cut, 7) == whole[cut:], "what comes depends on the position alone"


def test_ties_are_shuffled_by_seed_and_epoch_or_stay_in_the_order_of_the_data() -> None:
    levels = [1, 0] * 10
    one = bound(Sorted(), pool(levels))
    orders = [one.next(0, 20), one.next(20, 20), bound(Sorted(), pool(levels, seed=1)).next(0, 20)]
    assert len(set(map(tuple, orders))) == 3
    plain = bound(Sorted(), pool(levels, shuffle=False))
    assert plain.next(0, 20) == [*range(1, 20, 2), *range(0, 20, 2)]


@pytest.mark.parametrize(
    ("values", "fields", "order"),
    [
        ([3, 1.5, 2], {}, [1, 2, 0]),
        (["Level 3", "Level 1", " 2 "], {}, [1, 2, 0]),
        (["-1", "-2.5", "0"], {}, [1, 0, 2]),
        (["level-3", "level-1", "Grade: -3"], {}, [2, 1, 0]),
        (["hard", "easy", "medium"], {"column_order": ["easy", "medium", "hard"]}, [1, 2, 0]),
        ([2, 10, 1], {"column_order": ["10", "1", "2"]}, [1, 2, 0]),
    ],
)
def test_difficulty_is_read_from_a_column(values: list[Any], fields: dict[str, Any], order: list[int]) -> None:
    assert bound(Sorted(column="hard", **fields), with_column(values)).next(0, 3) == order


@pytest.mark.parametrize(
    ("value", "fields", "message"),
    [
        (
            "easy",
            {},
            r"curriculum\.column=hard: row 1 has 'easy'; expected a number.*column_order=\[easy,medium,hard\]",
        ),
        ("3 of 5", {}, "row 1 has '3 of 5'"),
        (True, {}, "row 1 has True"),
        (float("nan"), {}, "row 1 has nan"),
        (None, {}, "row 1 has None"),
        ("esay", {"column_order": ["easy", "1"]}, r"row 1 has 'esay', which curriculum\.column_order=\['easy', '1'\]"),
    ],
)
def test_a_difficulty_that_is_none_names_the_row(value: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        bound(Sorted(column="hard", **fields), with_column([1, value]))


def test_difficulty_is_measured_on_the_questions_that_are_drawn() -> None:
    asked: list[Any] = []

    def measure(queries: list[Query], count: int) -> list[float]:
        asked.append(([query.id for query in queries], count))
        return [0.25, 1.0, 0.5][: len(queries)]

    curriculum = bound(Sorted(measure=4, pool=3), pool([0] * 9, measure=measure))
    assert asked == [(["q0", "q1", "q2"], 4)]
    assert curriculum.next(0, 3) == [1, 2, 0], "the question that is answered most often comes first"


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=40), st.integers(1, 12))
def test_buckets_keep_the_order_and_equal_grades_together(grades: list[float], most: int) -> None:
    numbers = buckets(grades, most)
    assert sorted(set(numbers)) == list(range(max(numbers) + 1)) and max(numbers) < most
    pairs = sorted(zip(grades, numbers, strict=True))
    assert [number for _, number in pairs] == sorted(numbers)
    assert len({(grade, number) for grade, number in pairs}) == len(set(grades))
    if len(set(grades)) <= most:
        assert max(numbers) + 1 == len(set(grades))


def test_a_draw_is_in_proportion_to_what_is_left() -> None:
    """P(first = i, second = j) = p_i · p_j / (1 - p_i)."""
    p = torch.tensor([0.5, 0.3, 0.2, 0.0], dtype=torch.float64)
    drawn = Counter(tuple(draw(p, 2, 0, position)) for position in range(6000))
    assert sum(drawn.values()) == 6000 and not any(3 in pair for pair in drawn)
    for (i, j), count in drawn.items():
        assert count / 6000 == pytest.approx(float(p[i] * p[j] / (1 - p[i])), abs=0.02)
    assert draw(p, 4, 0, 7) == draw(p, 3, 0, 7) and sorted(draw(p, 3, 0, 7)) == [0, 1, 2]


def test_estimates_are_those_reckoned_by_hand() -> None:
    """Two buckets of two questions; prior 2 at 1/2, shrinkage 4, decay 1/2.

    Step 1: q0 has 3 of 4 right, so its bucket (1 + 3)/(2 + 4) = 2/3, q1 likewise, q0 (4·2/3 + 3)/(4 + 4) = 17/24; the
    other bucket stays at 1/2. Step 2: q2 has 0 of 2 (an error is neither), so its bucket 1/(2 + 2) = 1/4 and q2
    (4/4 + 0)/(4 + 2) = 1/6; the first bucket fades to (1 + 1.5)/(2 + 2) = 5/8, q0 to (2.5 + 1.5)/(4 + 2) = 2/3.
    """
    curriculum = bound(Adaptive(decay=0.5, prior=2.0, shrinkage=4.0, floor=0.2), pool([0, 0, 1, 1]))
    curriculum.observe([answered("q0", 1, 1, 0, 1)])
    of_bucket, of_row = curriculum.pass_rates()
    assert of_bucket.tolist() == pytest.approx([2 / 3, 1 / 2])
    assert of_row.tolist() == pytest.approx([17 / 24, 2 / 3, 1 / 2, 1 / 2])
    curriculum.observe([answered("q2", 0, 0, None)])
    of_bucket, of_row = curriculum.pass_rates()
    assert of_bucket.tolist() == pytest.approx([5 / 8, 1 / 4])
    assert of_row.tolist() == pytest.approx([2 / 3, 5 / 8, 1 / 6, 1 / 4])
    learnable = [2 / 9, 15 / 64, 5 / 36, 3 / 16]
    expected = [0.8 * value / sum(learnable) + 0.2 / 4 for value in learnable]
    assert curriculum.probabilities().tolist() == pytest.approx(expected)
    curriculum.next(0, 2)
    metrics = curriculum.metrics()
    assert metrics["effective_questions"] == pytest.approx(1 / sum(p * p for p in expected))
    assert metrics["pass_rate"] == pytest.approx(sum(p * r for p, r in zip(expected, of_row.tolist(), strict=True)))
    assert (metrics["pass_rate/0"], metrics["pass_rate/1"]) == (pytest.approx(5 / 8), pytest.approx(1 / 4))


def test_measured_pass_rates_that_are_all_alike_have_jeffreys_prior() -> None:
    curriculum = bound(Adaptive(measure=4), pool([0] * 3, measure=lambda queries, count: [0.0, 0.0, 0.0]))
    assert curriculum.pass_rates()[1].tolist() == pytest.approx([0.1] * 3)


def test_measured_pass_rates_are_the_prior() -> None:
    """0, 4 and 4 of 4 right, as unlike as can be: a + b = 1/9 around 2/3, so (0 + 2/27)/(4 + 1/9) and so on."""
    curriculum = bound(Adaptive(measure=4), pool([0] * 3, measure=lambda queries, count: [0.0, 1.0, 1.0]))
    assert curriculum.pass_rates()[1].tolist() == pytest.approx([2 / 111, 110 / 111, 110 / 111])


def test_measured_answers_count_until_they_are_forgotten() -> None:
    """The one wrong question has 4 answers, of which 4·2/111 may be expected to be right; half are left after a step,
    beside 8 right ones and the prior's one."""
    options = {"measure": lambda queries, count: [0.0, 1.0, 1.0]}
    curriculum = bound(Adaptive(measure=4, decay=0.5), pool([0] * 3, **options))
    curriculum.observe([answered("q0", *[1] * 8)])
    assert curriculum.pass_rates()[0][1] == pytest.approx((2 / 111 + 4 / 111 + 8) / (1 + 2 + 8))


def test_what_a_bucket_learns_moves_the_odds_of_all_its_questions() -> None:
    """Expected are 2/111, 110/111 and 110/111, 2/3 in the mean. Of the 12 measured answers half are left beside 8 right
    ones, so that the bucket is at (2/3 + 4 + 8)/(1 + 6 + 8) = 38/45, and the odds of all are those times 19/7."""
    options = {"measure": lambda queries, count: [0.0, 1.0, 1.0]}
    curriculum = bound(Adaptive(measure=4, decay=0.5, buckets=1), pool([0] * 3, **options))
    curriculum.observe([answered("q0", *[1] * 8)])
    of_bucket, of_row = curriculum.pass_rates()
    assert of_bucket.tolist() == pytest.approx([38 / 45])
    odds = [2 / 109 * 19 / 7, 110 * 19 / 7]
    expected = [each / (1 + each) for each in odds]
    assert of_row.tolist() == pytest.approx([(8 * expected[0] + 8) / 16, expected[1], expected[1]])


def test_what_is_not_drawn_any_more_is_forgotten() -> None:
    curriculum = bound(Adaptive(decay=0.5, prior=2.0), pool([0, 1]))
    curriculum.observe([answered("q0", *[0] * 8)])
    assert curriculum.pass_rates()[0][0] == pytest.approx(0.1)
    for _ in range(40):
        curriculum.observe([answered("q1", 1, 0)])
    assert curriculum.pass_rates()[0][0] == pytest.approx(0.5)
    assert set(curriculum.state_dict()["queries"]) == {"q1"}


rewards = st.lists(st.tuples(st.integers(0, 9), st.lists(st.sampled_from([0.0, 1.0, None]), max_size=4)), max_size=6)


@given(st.lists(rewards, max_size=12), st.floats(0.01, 1), st.floats(0.01, 1))
def test_every_question_keeps_its_share_of_the_floor(steps: Any, floor: float, decay: float) -> None:
    curriculum = bound(Adaptive(floor=floor, decay=decay), pool([0, 1, 2, 3, 4] * 2))
    for groups in steps:
        curriculum.observe([answered(f"q{number}", *values) for number, values in groups])
    p = curriculum.probabilities()
    assert float(p.sum()) == pytest.approx(1) and float(p.min()) >= floor / 10 - 1e-12
    again = bound(Adaptive(floor=floor, decay=decay), pool([0, 1, 2, 3, 4] * 2))
    again.load_state_dict(curriculum.state_dict())
    assert torch.equal(again.probabilities(), p) and again.next(5, 4) == curriculum.next(5, 4)


@pytest.mark.parametrize("curriculum", [Adaptive(), NoCurriculum()])
def test_groups_from_which_nothing_is_learnt_become_rarer(curriculum: Any) -> None:
    """Four levels, of which one has a pass rate of 1/2 and the others are always right or always wrong: without a
    curriculum three groups in four are uniform."""
    levels = [number % 4 for number in range(400)]
    curriculum.bind(pool(levels))
    generator, uniform = torch.Generator().manual_seed(0), []
    for step in range(30):
        groups = []
        for row in curriculum.next(8 * step, 8):
            chance = (1.0, 0.5, 0.0, 0.0)[levels[row]]
            values = (torch.rand(8, generator=generator) < chance).double().tolist()
            groups.append(answered(f"q{row}", *values))
            uniform.append(len(set(values)) == 1)
        curriculum.observe(groups)
    share = sum(uniform) / len(uniform)
    assert share < 0.35 if isinstance(curriculum, Adaptive) else share == pytest.approx(0.75, abs=0.06)


def test_a_level_comes_when_the_one_before_it_is_mastered() -> None:
    said: list[str] = []
    curriculum = bound(Levels(bound=0.75, window=2, review=0.25), pool([5, 5, 7, 7, 7, 9], said=said))
    assert said == ["curriculum: questions by level: 5 (2), 7 (3), 9 (1)"]
    assert curriculum.probabilities().tolist() == [0.5, 0.5, 0, 0, 0, 0]
    assert sorted(curriculum.next(0, 4)) == [0, 0, 1, 1], "there are no more of them"
    curriculum.observe([answered("q0", 1, 1), answered("q2", 1, 1)])  # one group of the level: the window is not full
    curriculum.next(2, 2)
    assert curriculum.metrics() == {"effective_questions": 2, "level": 0, "pass_rate": 1}
    curriculum.observe([answered("q0", 0, 0), answered("q1", 1, None)])  # (0 + 1)/2: the oldest left the window
    assert curriculum.probabilities()[2] == 0
    curriculum.observe([answered("q0", 1, 0)])  # (1 + 1/2)/2 = 3/4
    assert said[1:] == ["curriculum: level 1, pass rate at level 0 is 75%"]
    assert curriculum.probabilities().tolist() == pytest.approx([0.125, 0.125, 0.25, 0.25, 0.25, 0])
    curriculum.observe([answered("q0", 1), answered("q1", 1), answered("q0", 1)])  # of the level below
    assert curriculum.state_dict() == {"level": 1, "recent": []}
    for _ in range(3):
        curriculum.observe([answered("q5", 1), answered("q3", 1), answered("q4", 1)])
    assert curriculum.state_dict() == {"level": 2, "recent": [1.0, 1.0]}, "there is none above"
    again = bound(Levels(review=0.25), pool([5, 5, 7, 7, 7, 9]))
    again.load_state_dict(curriculum.state_dict())
    assert torch.equal(again.probabilities(), curriculum.probabilities())


@pytest.mark.parametrize(
    ("cls", "fields", "message"),
    [
        (Sorted, {"measure": -1}, r"curriculum\.measure=-1"),
        (Sorted, {"pool": 0}, r"curriculum\.pool=0: .* or null for all"),
        (Sorted, {"measure": 2, "column": "x"}, "give one"),
        (Sorted, {"column_order": ["a"]}, r"give curriculum\.column=COLUMN"),
        (Adaptive, {"decay": 0.0}, r"curriculum\.decay=0: expected a number above 0 and at most 1"),
        (Adaptive, {"floor": 1.5}, r"curriculum\.floor=1\.5"),
        (Adaptive, {"floor": 0.0}, r"curriculum\.floor=0"),
        (Adaptive, {"prior": 0.0}, r"curriculum\.prior=0"),
        (Adaptive, {"shrinkage": -1.0}, r"curriculum\.shrinkage=-1"),
        (Adaptive, {"buckets": 0}, r"curriculum\.buckets=0"),
        (Levels, {"bound": 0.0}, r"curriculum\.bound=0"),
        (Levels, {"window": 0}, r"curriculum\.window=0"),
        (Levels, {"review": 1.0}, r"curriculum\.review=1"),
    ],
)
def test_values_that_make_no_sense_are_refused(cls: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        cls(**fields)

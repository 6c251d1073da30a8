"""Rewards that need only the completion, and their weighted sum."""

from dataclasses import dataclass
from typing import Any

import pytest

from rlft.base import Group, Reward, RewardFunction, UserError
from rlft.rewards import Combine, Format, Implicit, Length, MathAnswer, PreferenceLabel
from tests.rewards.conftest import group


def values(reward: RewardFunction, *groups: Group) -> list[list[float]]:
    try:
        return [[r.value for r in g.rewards] for g in reward.score(list(groups))]
    finally:
        reward.close()


def test_implicit_is_one() -> None:
    scored = Implicit().score([group("a"), group("b", "c")])
    assert [[r.value for r in g.rewards] for g in scored] == [[1.0], [1.0, 1.0]]
    assert scored[0].rewards[0].parts == {"implicit": 1.0}


def test_length_is_free_then_linear_then_flat() -> None:
    reward = Length(free=2, limit=6, penalty=-2.0)
    texts = ["", "w w", "w w w", "w w w w w", "w w w w w w", " ".join("w" * 9)]
    assert values(reward, group(*texts)) == [[0.0, 0.0, -0.5, -1.5, -2.0, -2.0]]


@pytest.mark.parametrize(("free", "limit"), [(5, 5), (6, 5), (-1, 5)])
def test_length_limits_must_be_in_order(free: int, limit: int) -> None:
    with pytest.raises(UserError, match=r"reward\.free"):
        Length(free=free, limit=limit)


def test_the_first_of_a_pair_is_preferred() -> None:
    assert values(PreferenceLabel(), group("good", "bad")) == [[1.0, 0.0]]


@pytest.mark.parametrize("texts", [["one"], ["one", "two", "three"]])
def test_a_preference_label_needs_a_pair(texts: list[str]) -> None:
    with pytest.raises(UserError, match=r"query q has [13] completions"):
        PreferenceLabel().score([group(*texts)])


def test_format_matches_the_whole_text_or_finds_a_part() -> None:
    texts = group("<a>1\n2</a>", "so <a>1</a>", "none")
    assert values(Format(pattern="<a>.*</a>"), texts) == [[1.0, 0.0, 0.0]]
    assert values(Format(pattern="<a>.*</a>", match="search"), texts) == [[1.0, 1.0, 0.0]]


def test_a_pattern_that_backtracks_for_ever_costs_one_completion() -> None:
    reward = Format(pattern="(a+)+b", timeout=0.5)
    try:
        scored = reward.score([group("a" * 60, "aab")])[0]
    finally:
        reward.close()
    assert [r.value for r in scored.rewards] == [0.0, 1.0]
    assert scored.rewards[0].error == "no result after 0.5 s" and scored.rewards[1].error is None


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match=r"reward\.pattern='\('"):
        Format(pattern="(")


def test_a_sum_is_weighted_and_logs_each_part() -> None:
    reward = Combine(
        parts={"right": MathAnswer(), "short": Length(free=0, limit=4)}, weights={"right": 1.0, "short": 0.5}
    )
    scored = reward.score([group("it is 5", "no", answer="5")])[0]
    assert [r.value for r in scored.rewards] == [1.0 + 0.5 * -0.75, 0.5 * -0.25]
    assert scored.rewards[0].parts == {"right": 1.0, "short": -0.75}
    assert [r.extracted for r in scored.rewards] == ["5", None]
    assert reward.name == "1·math_answer + 0.5·length"


def test_parts_of_parts_errors_and_masks_come_through() -> None:
    @dataclass
    class Odd(RewardFunction):
        name: str = "odd"  # type: ignore[assignment]

        def score(self, groups: list[Group]) -> list[Group]:
            return [g.scored([Reward(2.0, {"a": 0.5, "b": 1.5}, error="late") for _ in g.completions]) for g in groups]

    reward = Combine(parts={"odd": Odd(), "one": Implicit(cut_off="mask")}, weights={"odd": 2.0, "one": 1.0})
    scored = reward.score([group("a b", finished=False)])[0]
    assert scored.rewards == (Reward(5.0, {"odd": 2.0, "odd/a": 0.5, "odd/b": 1.5, "one": 1.0}, error="odd: late"),)
    assert scored.completions[0].trained == (False, False)


def test_the_sum_itself_can_be_penalised() -> None:
    reward = Combine(parts={"one": Implicit()}, weights={"one": 3.0}, cut_off="penalise", cut_off_reward=-1.0)
    assert values(reward, group("a", finished=False), group("a")) == [[-1.0], [3.0]]


def test_closing_a_sum_closes_its_parts() -> None:
    part = Format(pattern="a")
    reward = Combine(parts={"a": part}, weights={"a": 1.0})
    reward.score([group("a")])
    process = part.worker._process
    assert process is not None and process.poll() is None
    reward.close()
    assert process.poll() is not None


@pytest.mark.parametrize(
    ("parts", "weights"),
    [({}, {}), ({"a": Implicit()}, {}), ({"a": Implicit()}, {"a": 1.0, "b": 1.0}), ({"a": Implicit()}, {"b": 1.0})],
)
def test_every_part_needs_its_weight(parts: dict[str, Any], weights: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"reward\.weights"):
        Combine(parts=parts, weights=weights)


def test_a_part_cannot_be_ranked_alone() -> None:
    with pytest.raises(UserError, match=r"reward\.parts\.a "):
        Combine(parts={"a": Implicit(transform="rank")}, weights={"a": 1.0})

"""How a completion is split into steps, and what arithmetic in them is worth."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlft.base import Completion, Group, Query, Reward, UserError
from rlft.rewards import ArithmeticSteps, Combine, Format, Implicit, MathAnswer, Scored, Stepped, Steps
from rlft.rewards.steps import split
from tests.rewards.conftest import group


def judged(question: str, text: str, answer: str = "0", **options: Any) -> list[float]:
    """Returns the rewards of the steps but the last, which is the outcome's."""
    query = Query("q", ({"role": "user", "content": question},), answer)
    (scored,) = ArithmeticSteps(**options).score([Group(query, (Completion((), text),))])
    return [value for _, value in scored.rewards[0].steps][:-1]


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("", [0]),
        ("a", [1]),
        ("a\nb", [2, 3]),
        ("a\nb\n", [2, 4]),
        ("a\n\n \nb", [5, 6]),
        ("\n\na\nb", [4, 5]),
        (" \n ", [3]),
    ],
)
def test_a_text_is_split_after_its_separators(text: str, ends: list[int]) -> None:
    assert split(text, "\n") == ends


@given(text=st.text(alphabet="ab \n;"), separator=st.sampled_from(["\n", ";", "\n\n", "; "]))
def test_the_steps_are_the_whole_text_and_each_says_something(text: str, separator: str) -> None:
    ends = split(text, separator)
    assert ends[-1] == len(text) and ends == sorted(set(ends))
    steps = Steps(Query("q", ()), Completion((), text), Reward(0.0), ends).texts
    assert "".join(steps) == text
    assert len(steps) == 1 or all(step.strip() and step.count(separator) <= text.count(separator) for step in steps)


@pytest.mark.parametrize(
    ("question", "text", "values"),
    [
        ("12 + 34 + 20 =", "12 + 34 = 46\n46 + 20 = 66\n#### 66", [1, 1]),
        ("12 + 34 + 20 =", "34 + 20 = 54\n12 + 54 = 66\n#### 66", [1, 1]),
        ("12 + 34 + 20 =", "12 + 34 = 45\n45 + 20 = 65\n#### 65", [0, 0]),
        ("12 + 34 + 20 =", "12 + 34 = 45\n12 + 34 = 46\n46 + 20 = 66\n#### 66", [0, 1, 1]),
        ("12 + 34 + 20 =", "12 + 34 + 20 = 46 + 20 = 66\n#### 66", [1]),
        ("12 + 34 + 20 =", "12 + 34 = 46 + 20 = 66\n#### 66", [0]),
        ("12 + 34 + 20 =", "12 + 34 = 46, 46 + 20 = 66\n#### 66", [1]),
        ("12 + 34 + 20 =", "12 + 34 = 46, 46 + 20 = 65\n#### 65", [0]),
        ("12 - 34 + 20 =", "12 - 34 = -22\n-22 + 20 = -2\n#### -2", [1, 1]),
        ("-12 - 34 =", "-12 - 34 = -46\n#### -46", [1]),
        ("12−5=", "12 − 5 = 7\n#### 7", [1]),
        ("$3 and 4 pens, 2 each", "$3 × 4 = $12\n12 / 2 = 6\n#### 6", [1, 1]),
        ("2 3 4 5", "2 + 3 * 4 = 14\n14 - 5 = 9\n.", [1, 1]),
        ("8 4 2", "8 / 4 / 2 = 1\n.", [1]),
        ("1,200 and 0.5", "1,200 * 0.5 = 600.0\n.", [1]),
        ("3 0", "3 / 0 = 3\n.", [0]),
    ],
)
def test_a_step_is_right_if_it_holds_and_is_made_of_what_is_given(
    question: str, text: str, values: list[float]
) -> None:
    assert judged(question, text) == values


def test_nothing_is_earned_by_sums_of_one_s_own_or_by_repeating() -> None:
    assert judged("12 + 34 + 20 =", "1 + 1 = 2\n2 + 2 = 4\n#### 66") == [0, 0]
    assert judged("12 + 34 + 20 =", "12 + 34 = 46\n12 + 34 = 46\n34 + 12 = 46\n#### 66") == [1, 0, 0]
    assert judged("12 + 34 + 20 =", "12 + 34 = 46\n34 + 20 = 54\n12 + 20 = 32\n#### 66") == [1, 0, 0]
    assert judged("12 + 12 + 20 =", "12 + 12 = 24\n24 + 20 = 44\n#### 44") == [1, 1]
    assert judged("12 + 20 =", "12 + 12 = 24\n#### 32") == [0]


def test_what_is_given_may_be_used_again_where_that_is_allowed_but_no_equation_twice() -> None:
    text = "48 / 2 = 24\n48 + 24 = 72\n48+24 = 72\n48 + 2 = 49\n49 + 2 = 51\n72"
    assert judged("48 clips, then half: 2", text) == [1, 0, 0, 0, 0]
    assert judged("48 clips, then half: 2", text, reuse=True) == [1, 1, 0, 0, 0]
    assert judged("48 clips, then half: 2", "48 + 24 = 72\n72", reuse=True) == [0]


def test_what_has_no_equation_belongs_to_the_next_step() -> None:
    query = Query("q", ({"role": "user", "content": "12 + 34 ="},), "46")
    text = "Let us add:\nx = 5\n12 + 34 = 46\nSo it is\n46"
    (scored,) = ArithmeticSteps().score([Group(query, (Completion((), text),))])
    assert scored.rewards[0].steps == ((31, 1.0), (len(text), 1.0))


def test_the_last_step_and_the_value_are_the_outcome_s() -> None:
    scored = ArithmeticSteps().score([group("12 + 34 = 46", "", "46 + 0 = 46\n#### 46", answer="46")])[0]
    assert [reward.value for reward in scored.rewards] == [1.0, 0.0, 1.0]
    assert [reward.steps for reward in scored.rewards] == [((12, 1.0),), ((0, 0.0),), ((12, 0.0), (19, 1.0))]
    assert scored.rewards[2].parts == {"math_answer": 1.0, "arithmetic_steps": 0.5}
    assert scored.rewards[2].extracted == "46"


def test_a_number_too_long_to_be_one_is_read_all_the_same() -> None:
    assert judged("1 1", f"1 + 1 = {'2' * 3000}\n2") == [0]
    assert judged("1", "1+" * 5000 + "1 = 1\n2") == [0]


def test_what_the_outcome_does_about_a_cut_off_completion_holds() -> None:
    cut = group("12 + 34 = 46\n46", answer="46", finished=False)
    masked = ArithmeticSteps(outcome=MathAnswer(cut_off="mask")).score([cut])[0]
    assert not any(masked.completions[0].trained or ()) and masked.rewards[0].steps[-1][1] == 1.0
    worse = ArithmeticSteps(outcome=MathAnswer(cut_off="penalise", cut_off_reward=-1.0)).score([cut])[0]
    assert (worse.rewards[0].value, worse.rewards[0].steps[-1][1]) == (-1.0, -1.0)


def test_ranks_and_scales_are_the_outcome_s_and_of_the_value_alone() -> None:
    reward = ArithmeticSteps(outcome=MathAnswer(transform="rank"))
    (scored,) = reward.finish(reward.score([group("1", "2", "2", answer="1")]))
    assert [r.value for r in scored.rewards] == [1.0, 0.25, 0.25]
    assert [r.steps[-1][1] for r in scored.rewards] == [1.0, 0.0, 0.0]


def test_closing_it_closes_the_outcome() -> None:
    @dataclass(kw_only=True)
    class Closing(Implicit):
        closed: ClassVar[bool] = False

        def close(self) -> None:
            type(self).closed = True

    ArithmeticSteps(outcome=Closing()).close()
    assert Closing.closed


def test_a_separator_is_needed() -> None:
    with pytest.raises(UserError, match=r"reward\.separator is empty"):
        ArithmeticSteps(separator="")


def test_only_some_rewards_judge_steps() -> None:
    assert ArithmeticSteps().stepwise and not MathAnswer().stepwise
    plain, stepped = (Combine(parts={"x": part}, weights={"x": 1.0}) for part in (MathAnswer(), ArithmeticSteps()))
    assert stepped.stepwise and not plain.stepwise
    assert plain.score([group("1", answer="1")])[0].rewards[0].steps == ()


def test_a_sum_keeps_steps_and_gives_the_rest_at_the_end() -> None:
    parts = {"steps": ArithmeticSteps(), "form": Format(pattern=".*####.*")}
    reward = Combine(parts=parts, weights={"steps": 2.0, "form": 0.5})
    (scored,) = reward.score([group("12 + 34 = 46\n#### 46", answer="46")])
    reward.close()
    assert scored.rewards[0].steps == ((13, 0.0), (20, 2.5)) and scored.rewards[0].value == 2.5


def test_a_sum_takes_no_part_whose_outcome_is_scaled() -> None:
    with pytest.raises(UserError, match=r"reward\.parts\.steps has transform or scale"):
        Combine(parts={"steps": ArithmeticSteps(outcome=MathAnswer(scale="batch"))}, weights={"steps": 1.0})


def test_a_penalty_for_being_cut_off_falls_on_the_last_step() -> None:
    class Halves(Scored):
        label = "halves"

        def rate(self, query: Query, completions: tuple[Completion, ...]) -> list[Reward]:
            return [Reward(1.0, steps=((1, 0.25), (2, 0.75))) for _ in completions]

    (scored,) = Halves(cut_off="penalise", cut_off_reward=-2.0).score([group("ab", finished=False)])
    assert scored.rewards[0].steps == ((1, 0.25), (2, -2.0)) and scored.rewards[0].value == -2.0


def test_a_judge_of_one_s_own() -> None:
    class Shorter(Stepped):
        label = "shorter"

        def judge(self, answers: list[Steps]) -> list[list[float | None]]:
            return [[1 / len(text.split()) for text in answer.texts] for answer in answers]

    first, second = Shorter(outcome=Implicit(), separator=";").score([group("a; b c", "d e"), group("f")])
    assert [r.steps for r in first.rewards] == [((2, 1.0), (6, 0.5)), ((3, 0.5),)]
    assert second.rewards[0].steps == ((1, 1.0),) and second.rewards[0].parts == {"implicit": 1.0, "shorter": 1.0}

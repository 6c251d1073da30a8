"""Cut-off completions, and transforms over a group or batch."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlft.base import Group, Query, Reward, UserError
from rlft.rewards import Implicit, Length, Scored
from rlft.rewards.common import ranks
from tests.rewards.conftest import group


def valued(*values: float) -> Group:
    """Returns a group with these rewards."""
    return group(*["a b"] * len(values)).scored([Reward(value, {"x": value}) for value in values])


def finished(reward: Scored, *groups: Group) -> list[list[float]]:
    return [[r.value for r in g.rewards] for g in reward.finish(list(groups))]


def test_a_cut_off_completion_is_trained_masked_or_penalised() -> None:
    cut, whole = group("a b", finished=False), group("a b")
    trained = Implicit().score([cut])[0]
    assert trained.completions[0].trained is None and trained.rewards[0].value == 1.0

    masked, untouched = Implicit(cut_off="mask").score([cut, whole])
    assert masked.completions[0].trained == (False, False) and masked.rewards[0].value == 1.0
    assert untouched.completions[0].trained is None

    worse, same = Implicit(cut_off="penalise", cut_off_reward=-0.5).score([cut, whole])
    assert worse.rewards[0].value == -0.5 and worse.rewards[0].parts == {"implicit": 1.0}
    assert worse.completions[0].trained is None
    assert same.rewards[0].value == 1.0


def test_nothing_is_transformed_unless_asked() -> None:
    groups = [valued(3.0, -7.0)]
    assert Implicit().finish(groups) == groups


def test_ranks_are_within_the_group_with_ties_averaged() -> None:
    # of 5, 5, 2, 9: places 1 and 2 tie at 1.5 of 3, 2 is the worst, 9 the best
    assert finished(Implicit(transform="rank"), valued(5, 5, 2, 9), valued(-1), valued(1, 1)) == [
        [0.5, 0.5, 0.0, 1.0],
        [0.5],
        [0.5, 0.5],
    ]


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=8))
def test_ranks_keep_order_and_their_mean_is_a_half(values: list[int]) -> None:
    result = ranks([float(v) for v in values])
    assert math.isclose(sum(result) / len(result), 0.5)
    for i, left in enumerate(values):
        for j, right in enumerate(values):
            assert (left < right) == (result[i] < result[j])


def test_clip_limits_values_and_keeps_what_was_earned() -> None:
    reward = Implicit(transform="clip", clip_low=-2.0, clip_high=0.5)
    assert finished(reward, valued(-3, 0, 1)) == [[-2.0, 0.0, 0.5]]
    assert reward.finish([valued(-3)])[0].rewards[0].parts == {"x": -3.0}


def test_scaling_divides_by_the_standard_deviation_of_the_group() -> None:
    # 0 and 2: mean 1, variance (1 + 1) / (2 - 1) = 2
    first, equal, single = finished(Implicit(scale="group"), valued(0, 2), valued(3, 3), valued(4))
    assert first == pytest.approx([0.0, 2 / math.sqrt(2)])
    assert equal == [3.0, 3.0] and single == [4.0]


def test_scaling_by_the_batch_divides_every_group_alike() -> None:
    # 0, 2, 4: mean 2, variance (4 + 0 + 4) / 2 = 4
    assert finished(Implicit(scale="batch"), valued(0, 2), valued(4)) == [[0.0, 1.0], [2.0]]


def test_scaling_comes_after_ranking() -> None:
    # ranks 0 and 1: variance 1/2
    assert finished(Implicit(transform="rank", scale="group"), valued(10, 70))[0] == pytest.approx([0, math.sqrt(2)])


def test_clip_limits_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(UserError, match="clip_low=2 is above"):
        Implicit(clip_low=2.0)


def test_finishing_keeps_queries_completions_and_errors() -> None:
    before = replace(valued(1, 2), query=Query("other", ()))
    before = before.scored([replace(before.rewards[0], error="no"), before.rewards[1]])
    after = Length(free=0, limit=4, transform="rank").finish([before])[0]
    assert after.query == before.query and after.completions == before.completions
    assert [r.error for r in after.rewards] == ["no", None]

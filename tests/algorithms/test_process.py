"""Process supervision worked out by hand: groups whose steps differ in number, none at all, and one completion alone.

Every test here takes no argument: the mutation test runs them all."""

import math

import pytest
import torch
from by_hand import batch, coefficient, near

from rlft.algorithms import K3, GroupNormalised, KLInReward, NoSurrogate, PolicyGradient, PPOClip, StepNormalised
from rlft.base import Batch, UserError
from rlft.testing import make_batch

CLIP = PPOClip(0.2, 0.2)
EXACT = StepNormalised(delta=1e-12)


def steps(data: Batch, *rows: list[float | None]) -> Batch:
    """Returns the batch with rewards at the ends of steps; None is a token that ends none, and holds junk."""
    ends = torch.tensor([[value is not None for value in row] for row in rows])
    rewards = torch.tensor([[math.nan if value is None else value for value in row] for row in rows])
    return data.replace(step_end=ends, step_reward=rewards.double())


def advantage(data: Batch, part: StepNormalised = EXACT, beta: float = 0.0) -> torch.Tensor:
    filled = PolicyGradient(part, CLIP, KLInReward() if beta else K3(), beta).prepare(data).advantage
    assert filled is not None
    return filled


def test_each_token_has_the_sum_of_the_steps_that_end_at_or_after_it() -> None:
    # R = 1, 0, 1, 0, of mean 1/2 and std √(4·(1/4)/3) = 1/√3: a right step is worth √3/2, a wrong one -√3/2.
    data = steps(batch([[1] * 5] * 2, [9, -9], [0, 0]), [1, None, 0, 1, None], [None, 0, None, None, None])
    a = math.sqrt(3) / 2
    near(advantage(data), [a, 0, 0, a, 0], [-a, -a, 0, 0, 0])
    near(
        coefficient(PolicyGradient(EXACT, CLIP, K3(), 0.0), data, [[-1.0] * 5] * 2), [a, 0, 0, a, 0], [-a, -a, 0, 0, 0]
    )


def test_all_steps_of_the_group_are_normalised_together_and_groups_apart() -> None:
    # First group: R = 1, 1, 1 and 0 are flattened: mean 3/4, std √((3/16 + 9/16)/3) = 1/2; the mean of the rows' means,
    # 1/2, would give another baseline. Second: R = 5, 3, of mean 4 and std √2.
    rows = [[1.0, 1.0, 1.0], [None, None, 0.0], [5.0, None, None], [3.0, None, None]]
    data = steps(batch([[1, 1, 1]] * 4, [0] * 4, [0, 0, 1, 1]), *rows)
    b = math.sqrt(0.5)
    near(advantage(data), [1.5, 1, 0.5], [-1.5] * 3, [b, 0, 0], [-b, 0, 0])
    # Scale: the std of all six, mean 11/6, is √((3·25/36 + 121/36 + 361/36 + 49/36)/5) = √(606/180).
    whole = math.sqrt(606 / 180) + 0.1
    rewards = [[0.75 / whole, 0.5 / whole, 0.25 / whole], [-0.75 / whole] * 3, [1 / whole, 0, 0], [-1 / whole, 0, 0]]
    near(advantage(data, StepNormalised(delta=0.1, scale="batch")), *rewards)
    near(advantage(data, StepNormalised(scale="none")), [0.75, 0.5, 0.25], [-0.75] * 3, [1, 0, 0], [-1, 0, 0])


def test_with_one_step_each_at_the_last_token_it_is_the_outcome() -> None:
    data = batch([[1, 1]] * 4, [0, 1, 1, 3], [0] * 4)
    data = steps(data, *([None, reward] for reward in data.reward.tolist()))
    outcome = PolicyGradient(GroupNormalised(), CLIP, K3(), 0.0).prepare(data).advantage
    assert outcome is not None
    near(advantage(data, StepNormalised()), *outcome.tolist())


def test_a_completion_without_a_step_has_no_advantage_and_does_not_count() -> None:
    rows = [[None, 2.0], [None, 0.0], [None, None]]
    b = math.sqrt(0.5)
    near(advantage(steps(batch([[1, 1]] * 3, [1, 2, 3], [0] * 3), *rows)), [b, b], [-b, -b], [0, 0])
    none = steps(batch([[1, 1]] * 3, [1, 2, 3], [0] * 3), *[[None, None]] * 3)
    near(advantage(none), [0, 0], [0, 0], [0, 0])


def test_one_completion_compares_its_steps_with_each_other() -> None:
    b = math.sqrt(0.5)
    near(advantage(steps(batch([[1, 1]], [7.0], [0]), [1, 0])), [0, -b])
    near(advantage(steps(batch([[1, 1]], [7.0], [0]), [None, 5.0])), [0, 0])


def test_equal_steps_vanish_exactly() -> None:
    data = steps(batch([[1, 1]] * 2, [0, 1], [0, 0]), [0.1, 0.1], [None, 0.1])
    method = PolicyGradient(EXACT, CLIP, K3(), 0.0)
    assert method.vanishes(method.prepare(data)).tolist() == [True, True]


def test_a_step_that_ends_at_an_untrained_token_still_counts_for_those_before() -> None:
    b = math.sqrt(0.5)
    data = steps(batch([[1, 0, 1], [1, 1, 1]], [0, 0], [0, 0]), [None, 2.0, None], [None, None, 0.0])
    near(advantage(data), [b, 0, 0], [-b, -b, -b])


def test_a_kl_in_the_reward_is_added_up_from_each_token_on_and_not_normalised() -> None:
    # β·log(π_old/π_ref) = 0.5·(0.2, junk, -0.6) is taken from the tokens; a right step is worth 1/√2.
    data = batch([[1, 0, 1]] * 2, [0, 0], [0, 0], logp_old=[[-1.0, 5.0, -1.0]] * 2, logp_ref=[[-1.2, 0.0, -0.4]] * 2)
    b = math.sqrt(0.5)
    near(advantage(steps(data, [1, None, None], [0, None, None]), beta=0.5), [b + 0.2, 0, 0.3], [-b + 0.2, 0, 0.3])


def test_nothing_is_read_where_no_step_ends() -> None:
    data = make_batch(queries=2, samples=3)
    assert data.step_reward is not None and data.step_end is not None
    clean = data.replace(step_reward=torch.where(data.step_end, data.step_reward, 0.0))
    dirty = data.replace(step_reward=torch.where(data.step_end, data.step_reward, math.inf))
    assert torch.equal(advantage(clean), advantage(dirty)) and advantage(clean).any()


def test_the_reward_of_the_whole_is_not_read() -> None:
    data = make_batch(queries=2, samples=3)
    method = PolicyGradient(StepNormalised(), NoSurrogate(), K3(), 0.0)
    one, other = (method.prepare(data.replace(reward=reward)).advantage for reward in (data.reward, -data.reward))
    assert one is not None and other is not None and torch.equal(one, other)


def test_a_ratio_of_whole_completions_is_refused() -> None:
    with pytest.raises(UserError, match="StepNormalised gives one per token; type"):
        PolicyGradient(StepNormalised(), PPOClip(0.2, 0.2, "sequence"), K3(), 0.0)

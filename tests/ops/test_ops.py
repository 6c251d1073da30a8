"""The arithmetic under the algorithms: properties, edges, and values worked out by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import rlft.ops as ops


def t(*rows: object) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


MASK = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
JUNK = t([1, math.nan, 3], [math.inf, math.nan, 1e300], [2, 4, 9])


def test_sums_and_means_read_nothing_under_the_mask() -> None:
    assert ops.row_sum(JUNK, MASK).tolist() == [4, 0, 15]
    assert ops.row_mean(JUNK, MASK).tolist() == [2, 0, 5]
    assert ops.masked_mean(JUNK, MASK).item() == pytest.approx(19 / 5)
    assert ops.lengths(MASK).tolist() == [2, 1, 3]
    assert ops.masked_mean(JUNK, torch.zeros_like(MASK)).item() == 0
    assert ops.masked_mean(t([7, 8]), torch.tensor([[True, False]])).item() == 7


def test_last_is_the_last_trained_token() -> None:
    assert ops.last(MASK).tolist() == [[False, False, True], [False, False, False], [False, False, True]]
    assert ops.last(torch.tensor([[True, True, False]])).tolist() == [[False, True, False]]


def test_whitening_by_hand() -> None:
    # Trained: 1, 3, 2, 4, 9: mean 3.8, squares of the deviations 7.84+0.64+3.24+0.04+27.04 = 38.8, over 4: 9.7.
    white = ops.whiten(JUNK, MASK)
    assert white[0, 0].item() == pytest.approx(-2.8 / math.sqrt(9.7 + 1e-8), abs=1e-14)
    assert white[2, 2].item() == pytest.approx(5.2 / math.sqrt(9.7 + 1e-8), abs=1e-14)
    assert white[0, 1] == 0 and not white[1].any()


def test_whitening_a_single_token_gives_zero() -> None:
    assert ops.whiten(t([5.0, 7.0]), torch.tensor([[True, False]])).tolist() == [[0, 0]]


def test_ratios_by_hand() -> None:
    log_ratio = t([2.0, 5.0, 8.0]).log()
    mask = torch.tensor([[True, False, True]])
    assert ops.token_ratio(log_ratio)[0].tolist() == pytest.approx([2, 5, 8])
    assert ops.sequence_ratio(log_ratio, mask).item() == pytest.approx(16)
    assert ops.geometric_ratio(log_ratio, mask).item() == pytest.approx(4)


def test_the_gradient_is_cut_only_where_clipping_binds() -> None:
    ratio = t(0.79, 0.81, 1.29, 1.31)
    assert ops.live(ratio, torch.full_like(ratio, 2.0), 0.2, 0.3).tolist() == [True, True, True, False]
    assert ops.live(ratio, torch.full_like(ratio, -2.0), 0.2, 0.3).tolist() == [False, True, True, True]
    assert ops.live(ratio, torch.zeros_like(ratio), 0.2, 0.3).all()


@given(st.floats(-5, 5))
def test_kl_terms_and_their_derivatives(x: float) -> None:
    leaf = torch.tensor([x], dtype=torch.float64, requires_grad=True)
    assert ops.k1(leaf.detach()).item() == x
    for value, coefficient in ((ops.k2, ops.k2_coefficient), (ops.k3, ops.k3_coefficient)):
        penalty = value(leaf)
        assert penalty.item() >= 0
        derivative = torch.autograd.grad(penalty.sum(), leaf)[0].item()
        assert coefficient(leaf.detach()).item() == pytest.approx(-derivative, rel=1e-12, abs=1e-12)


def test_k3_is_unbiased_for_the_kl() -> None:
    policy, reference = t(0.5, 0.3, 0.2), t(0.2, 0.2, 0.6)
    x = (policy / reference).log()
    exact = (policy * x).sum().item()
    assert (policy * ops.k3(x)).sum().item() == pytest.approx(exact, abs=1e-15)
    assert (policy * ops.k1(x)).sum().item() == pytest.approx(exact, abs=1e-15)


def test_group_statistics_by_hand_whatever_the_names_and_order() -> None:
    reward, group = t(1.0, 10.0, 5.0, 2.0, 30.0), torch.tensor([7, 2, 7, 7, 2])
    assert ops.group_count(group) == 2
    assert ops.group_size(group).tolist() == [3, 2, 3, 3, 2]
    assert ops.group_sum(reward, group).tolist() == [8, 40, 8, 8, 40]
    assert ops.group_deviation(reward, group).tolist() == pytest.approx([1 - 8 / 3, -10, 5 - 8 / 3, 2 - 8 / 3, 10])
    # (25 + 49 + 4)/9 · 1/2 = 13/3; 200/1.
    assert ops.group_std(reward, group).tolist() == pytest.approx(
        [math.sqrt(13 / 3), math.sqrt(200), math.sqrt(13 / 3), math.sqrt(13 / 3), math.sqrt(200)]
    )
    assert ops.leave_one_out(reward, group).tolist() == pytest.approx([-2.5, -20, 3.5, -1, 20])


def test_three_rewards_of_a_tenth_deviate_by_exactly_nothing() -> None:
    # 0.1 + 0.1 + 0.1 is not 0.3 in binary, and a row that is not exactly 0 is not skipped.
    assert not ops.group_deviation(t(0.1, 0.1, 0.1), torch.tensor([0, 0, 0])).any()
    assert not ops.leave_one_out(t(0.1, 0.2), torch.tensor([0, 1])).any()


@given(st.floats(-1e3, 1e3, width=32), st.integers(1, 9), st.sampled_from([torch.float32, torch.float64]))
def test_equal_rewards_deviate_by_exactly_nothing(value: float, size: int, dtype: torch.dtype) -> None:
    reward, group = torch.full((size,), value, dtype=dtype), torch.zeros(size, dtype=torch.long)
    assert not ops.group_deviation(reward, group).any()
    assert not ops.group_std(reward, group).any()
    assert not ops.leave_one_out(reward, group).any()


def test_no_rows_at_all() -> None:
    empty, group = torch.empty(0), torch.empty(0, dtype=torch.long)
    assert ops.group_deviation(empty, group).shape == (0,)
    assert ops.sequence_mean(torch.empty(0, 3, dtype=torch.bool)).shape == (0, 3)
    assert ops.token_mean(torch.empty(0, 3, dtype=torch.bool)).shape == (0, 3)


def test_gae_steps_over_what_is_not_trained() -> None:
    # δ1 = 0.1 + 0.9·0.4 - 0.5 = -0.04; δ3 = 2 + 0.9·0 - 0.4 = 1.6; Â1 = δ1 + 0.9·0.8·1.6 = 1.112.
    reward, value = t([0.1, 50.0, 2.0, 60.0]), t([0.5, 70.0, 0.4, 80.0])
    mask = torch.tensor([[True, False, True, False]])
    assert ops.gae(reward, value, mask, 0.9, 0.8)[0].tolist() == pytest.approx([1.112, 0, 1.6, 0], abs=1e-15)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_gae_is_its_definition_as_a_sum(seed: int, gamma: float, lam: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    reward, value = torch.randn(2, 1, 6, generator=draw, dtype=torch.float64)
    mask = torch.rand(1, 6, generator=draw) < 0.7
    r, v = reward[mask].tolist(), [*value[mask].tolist(), 0.0]
    delta = [r[i] + gamma * v[i + 1] - v[i] for i in range(len(r))]
    expected = [sum((gamma * lam) ** (k - i) * delta[k] for k in range(i, len(r))) for i in range(len(r))]
    assert ops.gae(reward, value, mask, gamma, lam)[mask].tolist() == pytest.approx(expected, abs=1e-12)


def test_weights_of_a_single_token_and_of_none() -> None:
    one, none = torch.tensor([[True, False]]), torch.tensor([[False, False]])
    for weight in (ops.total, ops.sequence_sum, ops.sequence_mean, ops.token_mean):
        assert weight(one).tolist() == [[1, 0]]
        assert weight(none).tolist() == [[0, 0]]


def test_reductions_by_hand() -> None:
    # Trained tokens 2, 0, 3 of B = 3 completions; 5 in all.
    half, third = 1 / 6, 1 / 9
    cases = [
        (ops.total(MASK), 1.0, 1.0),
        (ops.sequence_sum(MASK), 1 / 3, 1 / 3),
        (ops.sequence_mean(MASK), half, third),
        (ops.token_mean(MASK), 0.2, 0.2),
        (ops.constant_length(MASK, 10), 1 / 30, 1 / 30),
    ]
    for weight, first, last in cases:
        assert weight.flatten().tolist() == pytest.approx([first, 0, first, 0, 0, 0, last, last, last], rel=1e-6)


def test_annotations_are_checked_here() -> None:
    with pytest.raises(Exception, match="mask"):
        ops.row_sum(JUNK, MASK[:, :2])

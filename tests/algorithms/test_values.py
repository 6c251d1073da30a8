"""Coefficients, advantages and weights worked out by hand, and the limits that the methods must have.

Every test here takes no argument: the mutation test runs them all."""

import math

import pytest
import torch
from by_hand import advantage, batch, coefficient, logs, near

from rlft.algorithms import (
    CISPO,
    DPO,
    GAE,
    K2,
    K3,
    SAPO,
    ConstantLength,
    Distill,
    GroupCentred,
    GroupNormalised,
    KLInReward,
    LeaveOneOut,
    MeanRatio,
    NoKL,
    NoSurrogate,
    PolicyGradient,
    PPOClip,
    RewardAdvantage,
    SequenceMean,
    SequenceSum,
    Sum,
    Tapered,
    TokenMean,
    TokenWhitened,
    WeightedLikelihood,
)
from rlft.base import UserError
from rlft.testing import assert_gradient

CLIP = PPOClip(eps_low=0.2, eps_high=0.3)


def test_weighted_likelihood_is_the_reward() -> None:
    data = batch([[1, 0, 1], [1, 1, 1]], [2.0, -1.0], [0, 0])
    near(coefficient(WeightedLikelihood(), data, [[-1.0] * 3] * 2), [2, 0, 2], [-1, -1, -1])


def test_dpo_on_pairs_in_either_order_and_on_a_tie() -> None:
    # First pair: h = (0.3 + 0.2) - 0.1 = 0.4 (9 is not trained), βh = 0.2.
    # Second: o⁺ stands second: h = 0.6 - (-0.4) = 1, βh = 0.5. Third: a tie.
    data = batch(
        [[1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 1, 1], [1, 1, 1]],
        [1, 0, -2, 5, 3, 3],
        [0, 0, 1, 1, 2, 2],
        logp_ref=[[-1.0] * 3] * 6,
    )
    logp = [[-0.7, -0.8, 9.0], [-0.9, 5.0, 5.0], [-1.4, 0.0, 0.0], [-0.4, 0.0, 0.0], [-1.0] * 3, [-0.5] * 3]
    first, second = 0.5 / (1 + math.exp(0.2)), 0.5 / (1 + math.exp(0.5))
    near(
        coefficient(DPO(beta=0.5), data, logp),
        [first, first, 0],
        [-first, 0, 0],
        [-second, 0, 0],
        [second, 0, 0],
        [0] * 3,
        [0] * 3,
    )
    smooth = 0.5 * (0.9 / (1 + math.exp(0.2)) - 0.1 / (1 + math.exp(-0.2)))
    near(coefficient(DPO(beta=0.5, label_smoothing=0.1), data, logp)[:1], [smooth, smooth, 0])
    near(DPO(beta=0.5).reduction(data.mask, data.group)[:2], [1 / 3, 1 / 3, 0], [1 / 3, 0, 0])


def test_dpo_at_the_reference_is_half_beta() -> None:
    data = batch([[1, 1]] * 2, [1, 0], [0, 0], logp_ref=[[-1.0, -2.0]] * 2)
    near(coefficient(DPO(beta=0.3), data, [[-1.0, -2.0]] * 2), [0.15, 0.15], [-0.15, -0.15])


def test_dpo_names_the_row_that_is_no_pair() -> None:
    with pytest.raises(UserError, match=r"row 2 of the batch: its query has 3 completion\(s\).*data=preference"):
        DPO(beta=0.1).prepare(batch([[1]] * 5, [1, 0, 2, 3, 4], [0, 0, 1, 1, 1]))
    near(DPO(beta=0.1).reduction(torch.tensor([[True, True]] * 2), torch.tensor([3, 3])), [1, 1], [1, 1])


def test_leaving_one_out_takes_two() -> None:
    with pytest.raises(UserError, match=r"data\.samples_per_prompt=4"):
        PolicyGradient(LeaveOneOut(), CLIP, K3(), 0.0).prepare(batch([[1]] * 3, [1, 0, 2], [0, 0, 1]))


def test_ppo_on_completions_of_one_token() -> None:
    data = batch([[1]], [2.0], [0], value=[[0.5]])
    near(advantage(PolicyGradient(GAE(0.9, 0.8, False), CLIP, KLInReward(), 0.0), data), [1.5])


def test_ppo_advantages_and_returns() -> None:
    # Token rewards: -β·log(π_old/π_ref) = -0.5·(0.2, -0.4), and r = 2 at the last trained token: -0.1, 2.2.
    # δ2 = 2.2 - 0.4 = 1.8; δ1 = -0.1 + 0.9·0.4 - 0.5 = -0.24; Â1 = -0.24 + 0.9·0.8·1.8 = 1.056.
    data = batch(
        [[1, 0, 1]], [2.0], [0], value=[[0.5, 7.0, 0.4]], logp_old=[[-1.0, -5.0, -1.0]], logp_ref=[[-1.2, -1.0, -0.6]]
    )
    prepared = PolicyGradient(GAE(0.9, 0.8, False), CLIP, KLInReward(), 0.5).prepare(data)
    assert prepared.advantage is not None and prepared.returns is not None
    near(prepared.advantage, [1.056, 0, 1.8])
    near(prepared.returns, [1.556, 0, 2.2])
    # Whitened: ±0.372 over the root of (2·0.372²)/1: ±1/√2. The returns stay.
    whitened = PolicyGradient(GAE(0.9, 0.8, True), CLIP, KLInReward(), 0.5).prepare(data)
    assert whitened.advantage is not None and whitened.returns is not None
    near(whitened.advantage, [-math.sqrt(0.5), 0, math.sqrt(0.5)])
    near(whitened.returns, [1.556, 0, 2.2])


def test_ppo_with_no_critic_to_speak_of_is_reinforce() -> None:
    data = batch([[1, 0, 1], [1, 1, 0]], [3.0, -2.0], [0, 1], value=[[0.0] * 3] * 2)
    ppo = PolicyGradient(GAE(1.0, 1.0, False), CLIP, KLInReward(), 0.0)
    near(coefficient(ppo, data, [[-1.0, -2.0, -3.0]] * 2), [3, 0, 3], [-2, -2, 0])


def test_grpo_at_ratio_one_is_the_papers_row() -> None:
    # Rewards 0, 1, 2: std 1. π_ref/π - 1 = 1 in the first column, -1/2 in the second.
    data = batch([[1, 1]] * 3, [0, 1, 2], [0] * 3, logp_ref=logs(*[[0.5, 0.25]] * 3))
    grpo = PolicyGradient(GroupNormalised(delta=1e-4), CLIP, K3(), 0.1)
    a = 1 / 1.0001
    near(coefficient(grpo, data, logs(*[[0.25, 0.5]] * 3)), [0.1 - a, -0.05 - a], [0.1, -0.05], [0.1 + a, -0.05 + a])


def test_grpo_clips_by_the_sign_of_the_advantage() -> None:
    # Two groups; Â = ∓1/√2 up to δ. ρ = 0.5, 0.9, 1.25, 1.5 between 0.8 and 1.3.
    data = batch([[1, 1, 1, 1]] * 2, [0, 1], [0, 0], logp_old=logs(*[[0.4] * 4] * 2))
    grpo = PolicyGradient(GroupNormalised(delta=1e-12), CLIP, K3(), 0.0)
    a = math.sqrt(0.5)
    near(
        coefficient(grpo, data, logs(*[[0.2, 0.36, 0.5, 0.6]] * 2)),
        [0, -0.9 * a, -1.25 * a, -1.5 * a],
        [0.5 * a, 0.9 * a, 1.25 * a, 0],
    )


def test_kl_terms_and_their_off_policy_forms() -> None:
    # ρ = 0.25/0.5 = 1/2, π_ref/π = 1/0.25 = 4; the reward 1 is the surrogate's half.
    data = batch([[1]], [1.0], [0], logp_old=logs([0.5]), logp_ref=logs([1.0]))
    cases = {K3(): 3, K3(off_policy=True): 1.5, K2(): math.log(4), K2(off_policy=True): math.log(2)}
    for kl, pull in cases.items():
        near(coefficient(PolicyGradient(RewardAdvantage(), CLIP, kl, 0.1), data, logs([0.25])), [0.5 + 0.1 * pull])
    for kl in (NoKL(), KLInReward(), K3()):
        near(coefficient(PolicyGradient(RewardAdvantage(), CLIP, kl, 0.0), data, logs([0.25])), [0.5])


def test_an_entropy_bonus_lifts_what_is_improbable() -> None:
    """Advantages ±1 (r - mean), ρ = 1, and 0.5 times log 2, log 4 and log 8; the last token is not trained."""
    method = PolicyGradient(GroupCentred(), CLIP, NoKL(), 0.0, entropy=0.5)
    data = batch([[1, 1], [1, 0]], [2.0, 0.0], [0, 0])
    half = 0.5 * math.log(2)
    near(coefficient(method, data, logs([1 / 2, 1 / 4], [1 / 8, 1 / 2])), [1 + half, 1 + 2 * half], [-1 + 3 * half, 0])


def test_a_kl_in_the_reward_serves_advantages_of_rows_too() -> None:
    # Σ log(π_old/π_ref) over trained tokens = 0.5 + 1.0 in the first row, 0 in the second; β = 0.2.
    data = batch(
        [[1, 0, 1], [1, 1, 1]], [1.0, 0.0], [0, 0], logp_old=[[-1.0] * 3] * 2, logp_ref=[[-1.5, 8.0, -2.0], [-1.0] * 3]
    )
    near(advantage(PolicyGradient(RewardAdvantage(), CLIP, KLInReward(), 0.2), data), [0.7, 0, 0.7], [0] * 3)
    near(advantage(PolicyGradient(LeaveOneOut(), CLIP, KLInReward(), 0.2), data), [0.7, 0, 0.7], [-0.7] * 3)


def test_advantages_of_groups() -> None:
    data = batch([[1, 0]] * 5, [0, 1, 5, 2, 2], [0, 0, 0, 1, 1])
    near(advantage(PolicyGradient(GroupCentred(), CLIP, K3(), 0.0), data), [-2, 0], [-1, 0], [3, 0], [0, 0], [0, 0])
    near(advantage(PolicyGradient(LeaveOneOut(), CLIP, K3(), 0.0), data), [-3, 0], [-1.5, 0], [4.5, 0], [0, 0], [0, 0])
    # Std: of the group √((4+1+9)/2) = √7; of the batch, mean 2: √((4+1+9+0+0)/4) = √3.5.
    for scale, std in (("group", math.sqrt(7) + 0.1), ("batch", math.sqrt(3.5) + 0.1), ("none", 1.0)):
        method = PolicyGradient(GroupNormalised(delta=0.1, scale=scale), CLIP, K3(), 0.0)
        near(advantage(method, data), [-2 / std, 0], [-1 / std, 0], [3 / std, 0], [0, 0], [0, 0])


def test_advantages_over_the_mean() -> None:
    # Means 2, 0 and 0.5: (r - 2)/2; nothing; (r - 0.5)/0.5.
    data = batch([[1, 0]] * 7, [0, 1, 5, 0, 0, 0, 1], [0, 0, 0, 1, 1, 2, 2])
    method = PolicyGradient(MeanRatio(), CLIP, K3(), 0.0)
    near(advantage(method, data), [-1, 0], [-0.5, 0], [1.5, 0], [0, 0], [0, 0], [-1, 0], [1, 0])
    with pytest.raises(UserError, match=r"must not be below 0, one is -0\.5; type algorithm\.advantage"):
        method.prepare(batch([[1]] * 2, [1, -0.5], [0, 0]))


def test_advantages_whitened_token_by_token() -> None:
    # r less what k1 takes from the token and those after it: 1 - 0.5·(3, 2), 4 - 0.5·2 and nothing under the mask.
    old, ref = [[2.0, 2.0, 9.0], [2.0, 9.0, 9.0]], [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    data = batch([[1, 1, 0], [1, 0, 0]], [1.0, 4.0], [0, 1], logp_old=old, logp_ref=ref)
    rest = [-0.5, 0.0, 3.0]
    mean = 2.5 / 3
    std = math.sqrt(sum((x - mean) ** 2 for x in rest) / 2)
    first, second, third = ((x - mean) / std for x in rest)
    method = PolicyGradient(TokenWhitened(), CLIP, KLInReward(), 0.5)
    near(advantage(method, data), [first, second, 0], [third, 0, 0])


def test_soft_surrogates() -> None:
    # ρ = 0.5, 1 and 4, with advantages of 2 and of -2.
    data = batch([[1, 1, 1]] * 2, [2.0, -2.0], [0, 1], logp_old=logs(*[[0.2, 0.5, 0.1]] * 2))
    logp = logs(*[[0.1, 0.5, 0.4]] * 2)

    def gate(x: float) -> float:
        return 4 * math.exp(-x) / (1 + math.exp(-x)) ** 2

    cispo = PolicyGradient(RewardAdvantage(), CISPO(eps_low=0.4, eps_high=2.0), K3(), 0.0)
    near(coefficient(cispo, data, logp), [1.2, 2, 6], [-1.2, -2, -6])
    sapo = PolicyGradient(RewardAdvantage(), SAPO(tau_positive=1.0, tau_negative=2.0), K3(), 0.0)
    near(
        coefficient(sapo, data, logp),
        [gate(0.5), 2, 8 * gate(3.0)],
        [-gate(1.0), -2, -8 * gate(6.0)],
    )
    near(coefficient(sapo, data.replace(reward=data.reward / 4), logp)[:1], [gate(0.5) / 4, 0.5, 2 * gate(3.0)])
    # Π ρ = 2 in full, and 0.5 of the first two tokens alone.
    topr = PolicyGradient(RewardAdvantage(), Tapered(), K3(), 0.0)
    near(coefficient(topr, data, logp), [2, 2, 2], [-2, -2, -2])
    part = batch([[1, 1, 0]] * 2, [2.0, -2.0], [0, 1], logp_old=logs(*[[0.2, 0.5, 0.1]] * 2))
    near(coefficient(topr, part, logp), [2, 2, 0], [-1, -1, 0])
    near(coefficient(topr, part.replace(reward=part.reward / 4), logp), [0.5, 0.5, 0], [-0.25, -0.25, 0])


def test_a_tie_leaves_dpo_without_objective_or_coefficient() -> None:
    data = batch([[1, 1]] * 4, [1, 1, 1, 0], [0, 0, 1, 1], logp_ref=[[-1.0, -2.0]] * 4)
    assert_gradient(DPO(beta=0.3), data, torch.tensor([[-0.3, -0.4]] * 4))
    near(advantage(DPO(beta=0.3), data), [0, 0], [0, 0], [1, 1], [-1, -1])


def test_a_group_of_one_has_no_advantage() -> None:
    data = batch([[1]] * 3, [3.0, -1.0, 1e8], [0, 1, 2])
    for part in (GroupNormalised(), GroupCentred()):
        assert advantage(PolicyGradient(part, CLIP, K3(), 0.0), data) == [[0], [0], [0]]


def test_ratios_of_whole_completions() -> None:
    # ρ = 1.5, 0.6 (and 0.1 untrained): product 0.9, geometric mean √0.9; second row 4 and 2, clipped if Â > 0.
    data = batch([[1, 1, 0], [1, 1, 0]], [2.0, 3.0], [0, 0], logp_old=logs(*[[0.2, 0.5, 0.5]] * 2))
    logp = logs([0.3, 0.3, 0.05], [0.4, 1.0, 0.5])
    for level, ratio in (("sequence", 0.9), ("geometric", math.sqrt(0.9))):
        method = PolicyGradient(RewardAdvantage(), PPOClip(0.2, 0.2, level=level), K3(), 0.0)
        near(coefficient(method, data, logp), [2 * ratio, 2 * ratio, 0], [0] * 3)
        low = batch([[1, 1, 0], [1, 1, 0]], [-2.0, -3.0], [0, 0], logp_old=logs(*[[0.2, 0.5, 0.5]] * 2))
        near(coefficient(method, low, logp)[1:], [-3 * (4 if level == "sequence" else 2)] * 2 + [0])


def test_gspo_on_single_tokens_is_grpo_without_kl() -> None:
    data = batch([[1]] * 4, [0, 1, 1, 3], [0] * 4, logp_old=logs([0.2], [0.5], [0.3], [0.9]))
    logp = logs([0.3], [0.45], [0.5], [0.8])
    gspo, grpo = (
        PolicyGradient(GroupNormalised(), PPOClip(0.2, 0.2, level=level), K3(), 0.0) for level in ("geometric", "token")
    )
    near(coefficient(gspo, data, logp), *coefficient(grpo, data, logp))


def test_without_a_surrogate_the_ratio_does_not_enter() -> None:
    data = batch([[1, 0]], [2.0], [0], logp_old=logs([0.1, 0.1]))
    near(coefficient(PolicyGradient(RewardAdvantage(), NoSurrogate(), K3(), 0.0), data, logs([0.9, 0.9])), [2, 0])


def test_where_the_old_policy_is_the_policy_the_ratio_is_exactly_one() -> None:
    data = batch([[1, 1]], [0.1], [0])
    method = PolicyGradient(RewardAdvantage(), CLIP, K3(), 0.0)
    assert coefficient(method, data, [[-0.123456789, -7.1]]) == [[0.1, 0.1]]


def test_a_teacher_pulls_by_its_log_ratio_to_the_policy() -> None:
    # π_teacher/π is 1/2 over 1/4 and 0.2 over 0.4: ±log 2; the third token is not trained.
    data = batch([[1, 1, 0]], [7.0], [0], logp_teacher=logs([0.5, 0.2, 0.9]), logp_old=logs([0.5, 0.1, 0.3]))
    logp, pull = logs([0.25, 0.4, 0.1]), math.log(2)
    near(coefficient(Distill(), data, logp), [pull, -pull, 0])
    # ρ is 1/2 and 4, and 1 where a batch gets one step.
    near(coefficient(Distill(off_policy=True), data, logp), [pull / 2, -4 * pull, 0])
    near(coefficient(Distill(off_policy=True), data.replace(logp_old=None), logp), [pull, -pull, 0])
    near(Distill().reduction(data.mask, data.group), [0.5, 0.5, 0])
    assert_gradient(Distill(off_policy=True), data, torch.tensor(logp, dtype=torch.float64))


def test_a_policy_that_is_its_teacher_stays() -> None:
    data = batch([[1, 1]], [1.0], [0], logp_teacher=logs([0.3, 0.6]))
    assert coefficient(Distill(), data, logs([0.3, 0.6])) == [[0, 0]]


def test_weights() -> None:
    mask, group = torch.tensor([[True, True, False], [True, False, False]]), torch.tensor([0, 1])
    near(Sum()(mask, group), [1, 1, 0], [1, 0, 0])
    near(SequenceMean()(mask, group), [0.25, 0.25, 0], [0.5, 0, 0])
    near(SequenceSum()(mask, group), [0.5, 0.5, 0], [0.5, 0, 0])
    near(TokenMean()(mask, group), [1 / 3, 1 / 3, 0], [1 / 3, 0, 0])
    near(ConstantLength(length=4)(mask, group), [0.125, 0.125, 0], [0.125, 0, 0])

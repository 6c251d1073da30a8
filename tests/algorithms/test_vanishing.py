"""Rows said to vanish have a coefficient of exactly 0 whatever log π is, and no others are said to."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlft.algorithms import (
    CISPO,
    DPO,
    K2,
    K3,
    SAPO,
    GroupCentred,
    KLInReward,
    NoKL,
    NoSurrogate,
    PolicyGradient,
    PPOClip,
    Preference,
    Tapered,
    WeightedLikelihood,
)
from rlft.base import Algorithm, Batch
from rlft.recipe import build, compose
from rlft.recipe.groups import options
from rlft.testing import make_batch

seeds = st.integers(0, 10**6)
right = st.lists(st.booleans(), min_size=12, max_size=12)


def shipped(name: str, *changes: str) -> Algorithm:
    recipe = compose(["recipe=grpo_math", f"algorithm={name}", "data.max_completion_tokens=9", *changes])
    return build(recipe.config, Path("nowhere")).algorithm


SHIPPED = {name: shipped(name) for name in sorted(options("algorithm"))}
SHIPPED["grpo, β=0"] = shipped("grpo", "algorithm.beta=0")
SHIPPED["ppo, β=0"] = shipped("ppo", "algorithm.beta=0")
SHIPPED["grpo_process, β=0"] = shipped("grpo_process", "algorithm.beta=0")
PAIRED = {name for name, algorithm in SHIPPED.items() if isinstance(algorithm, Preference)}
TWO = {*PAIRED, "dpo_note"}
SHIPPED["dr_grpo with entropy"] = shipped("dr_grpo", "algorithm.entropy=0.01")
RUNS_ALL = {"grpo", "grpo_process", "dr_grpo with entropy", *PAIRED}


def drawn_logp(seed: int, batch: Batch) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return -5 * torch.rand(batch.mask.shape, generator=draw, dtype=torch.float64)


def prepared(algorithm: Algorithm, rewards: list[bool], seed: int, samples: int = 4) -> Batch:
    reward = torch.tensor(rewards, dtype=torch.float64)
    return algorithm.prepare(make_batch(len(rewards) // samples, samples, seed=seed, rewards=reward))


def constant(batch: Batch) -> Tensor:
    """Whether all rewards of a row's group are equal [B]."""
    return (batch.reward[:, None] == batch.reward).logical_or(batch.group[:, None] != batch.group).all(1)


@pytest.mark.parametrize("name", SHIPPED)
@given(rewards=right, seed=seeds)
def test_a_row_that_vanishes_has_no_coefficient(name: str, rewards: list[bool], seed: int) -> None:
    algorithm = SHIPPED[name]
    batch = prepared(algorithm, rewards, seed, 2 if name in TWO else 4)
    gone = algorithm.vanishes(batch)
    assert gone.shape == (12,) and gone.dtype == torch.bool
    for other in (seed, seed + 1):
        assert not algorithm.coefficient(batch, drawn_logp(other, batch))[gone].any()


@given(rewards=right, seed=seeds)
def test_wrong_answers_vanish_where_likelihood_is_weighed_by_the_reward(rewards: list[bool], seed: int) -> None:
    gone = WeightedLikelihood().vanishes(prepared(WeightedLikelihood(), rewards, seed))
    assert gone.tolist() == [not r for r in rewards]


@pytest.mark.parametrize("name", ["dr_grpo", "grpo, β=0"])
@given(rewards=right, seed=seeds)
def test_groups_all_right_or_all_wrong_vanish_without_a_kl(name: str, rewards: list[bool], seed: int) -> None:
    batch = prepared(SHIPPED[name], rewards, seed)
    untrained = ~batch.mask.any(1)
    assert torch.equal(SHIPPED[name].vanishes(batch), constant(batch) | untrained)


@pytest.mark.parametrize("name", sorted(RUNS_ALL))
def test_a_pull_to_the_reference_entropy_and_a_pair_never_vanish(name: str) -> None:
    for rewards in ([True] * 12, [False] * 12, [True, False] * 6):
        assert not SHIPPED[name].vanishes(prepared(SHIPPED[name], rewards, 0, 2)).any()


CLIP = PPOClip(0.2, 0.2)
SURROGATES: list[Any] = [
    CLIP, PPOClip(0.1, 0.3, "sequence"), PPOClip(0.1, 0.3, "geometric"), NoSurrogate(), CISPO(1.0, 2.0), SAPO(1.0, 2.0),
    Tapered(),
]  # fmt: skip


@pytest.mark.parametrize("surrogate", SURROGATES, ids=str)
@pytest.mark.parametrize(("kl", "beta"), [(K3(), 0.0), (NoKL(), 0.0), (KLInReward(), 0.1), (K3(), 0.1), (K2(), 0.1)])
def test_without_an_advantage_nothing_is_left_but_a_kl_term(surrogate: Any, kl: Any, beta: float) -> None:
    algorithm = PolicyGradient(GroupCentred(), surrogate, kl, beta)
    batch = make_batch(seed=3)
    advantage = torch.ones(batch.mask.shape, dtype=torch.float64) * batch.mask
    zero = torch.arange(12) % 3 == 0
    advantage[zero] = 0.0
    one = int((batch.mask.sum(1) > 1).logical_and(~zero).nonzero()[0])
    advantage[one, int(batch.mask[one].nonzero()[0])] = 0.0  # a single token of a row that is run
    batch = batch.replace(advantage=advantage)
    coefficient = algorithm.coefficient(batch, drawn_logp(1, batch))
    if beta and kl.penalises == "coefficient":
        assert not algorithm.vanishes(batch).any() and coefficient[zero].any()
    else:
        assert torch.equal(algorithm.vanishes(batch), zero | ~batch.mask.any(1)) and not coefficient[zero].any()


def test_what_is_under_the_mask_does_not_count() -> None:
    batch = make_batch(seed=3)
    algorithm = PolicyGradient(GroupCentred(), CLIP, NoKL(), 0.0)
    assert algorithm.vanishes(batch.replace(advantage=(~batch.mask).double())).all()


def test_an_advantage_that_is_no_number_is_run_so_that_it_is_refused() -> None:
    batch = make_batch(seed=3, holes=False)
    algorithm = PolicyGradient(GroupCentred(), CLIP, NoKL(), 0.0)
    nan = torch.full(batch.mask.shape, float("nan"), dtype=torch.float64)
    assert not algorithm.vanishes(batch.replace(advantage=nan)).any()
    assert not WeightedLikelihood().vanishes(batch.replace(reward=nan[:, 0])).any()


def test_a_part_that_says_nothing_is_always_run() -> None:
    """A surrogate of a user's own need not be 0 where the advantage is."""

    class Entropic(NoSurrogate):
        @property
        def vanishes_with_advantage(self) -> bool:
            return super(NoSurrogate, self).vanishes_with_advantage

    algorithm = PolicyGradient(GroupCentred(), Entropic(), NoKL(), 0.0)
    batch = make_batch(seed=3)
    assert not algorithm.vanishes(batch.replace(advantage=torch.zeros(batch.mask.shape))).any()
    assert not DPO(0.1).vanishes(DPO(0.1).prepare(make_batch(6, 2, rewards=torch.zeros(12)))).any(), "not even ties"

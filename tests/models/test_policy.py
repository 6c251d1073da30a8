"""The prompt run once per group gives log π, entropy and gradient of every sequence run whole."""

from typing import Any

import pytest
import torch
from tiny import SIZES, VOCABULARY, direct, gradient, make_batch, random_batch, tiny_model, weights, with_adapter
from transformers import LlamaConfig

from rlft.models.policy import Policy

LAYOUTS = {
    "unequal groups, holes": random_batch(),
    "one token each": random_batch((2, 2), (4, 1), 1, holes=()),
    "one row": random_batch((1,), (5,), 4, holes=((0, 3),)),
    "nothing trained in a row": random_batch((2, 1), (2, 6), 3, holes=((0, 0), (0, 1), (0, 2))),
    "prompts far apart in length": random_batch((1, 4), (40, 1), 9),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("way", ["native", "shared", "whole"])
def test_logp_entropy_and_gradient_are_those_of_whole_sequences(layout: str, way: str) -> None:
    batch = LAYOUTS[layout]
    model = with_adapter(tiny_model())
    policy = Policy(model, print)
    assert policy.native is not None and policy.shares_prompts and policy.plain_head
    policy.native = policy.native if way == "native" else None
    policy.shares_prompts = way == "shared"
    logp, entropy = policy(batch)
    expected, expected_entropy = direct(model, batch)
    assert logp.dtype == torch.float64
    assert (logp - expected).abs().max() < 1e-9
    assert (entropy - expected_entropy).abs().max() < 1e-9
    assert not entropy.requires_grad
    difference = gradient(model, logp, weights(batch)) - gradient(model, expected, weights(batch))
    assert difference.abs().max() < 1e-9


@pytest.mark.parametrize("tied", [False, True])
def test_a_fully_trained_model_gets_the_same_gradient_in_every_weight(tied: bool) -> None:
    batch = random_batch()
    model = tiny_model(config=LlamaConfig(**SIZES, vocab_size=VOCABULARY, tie_word_embeddings=tied))
    policy = Policy(model, print)
    ours = gradient(model, policy(batch)[0], weights(batch))
    assert len(ours) == sum(p.numel() for p in model.parameters())
    assert (ours - gradient(model, direct(model, batch)[0], weights(batch))).abs().max() < 1e-9


def test_what_is_not_trained_is_zero_and_still_attended() -> None:
    tokens = [[[5, 6, 7, 8]], [[9, 10, 11, 12]]]
    with_hole = make_batch([[3, 4], [5]], tokens, holes=((0, 1),))
    policy = Policy(tiny_model(), print)
    logp, entropy = policy(with_hole)
    assert logp[0, 1] == 0 and entropy[0, 1] == 0
    whole = policy(make_batch([[3, 4], [5]], tokens))[0]
    assert (logp - whole)[with_hole.mask].abs().max() < 1e-12
    other = make_batch([[3, 4], [5]], [[[5, 20, 7, 8]], [[9, 10, 11, 12]]], holes=((0, 1),))
    assert (policy(other)[0] - logp)[0, 2].abs() > 1e-3


def test_padding_and_its_tokens_change_nothing() -> None:
    batch = random_batch()
    policy = Policy(tiny_model(), print)
    expected = policy(batch)[0]
    junk = batch.replace(
        prompt_ids=torch.where(batch.prompt_mask, batch.prompt_ids, 17),
        completion_ids=torch.where(batch.attention, batch.completion_ids, 23),
    )
    assert (policy(junk)[0] - expected).abs().max() < 1e-12
    wider = torch.nn.functional.pad
    padded = batch.replace(
        prompt_ids=wider(batch.prompt_ids, (5, 0)),
        prompt_mask=wider(batch.prompt_mask, (5, 0)),
        completion_ids=wider(batch.completion_ids, (0, 4)),
        attention=wider(batch.attention, (0, 4)),
        mask=wider(batch.mask, (0, 4)),
    )
    assert (policy(padded)[0][:, : batch.mask.shape[1]] - expected).abs().max() < 1e-12


def test_a_split_batch_gives_the_rows_of_the_whole_one() -> None:
    batch = random_batch((2, 3, 1), (4, 9, 2))
    policy = Policy(tiny_model(), print)
    whole = policy(batch)[0]
    for micro in batch.micro_batches("completion", max_tokens=20):
        part = policy(micro)[0]
        assert (part - whole[micro.row][:, : part.shape[1]]).abs().max() < 1e-12


def test_bfloat16_scores_are_float32() -> None:
    policy = Policy(tiny_model(dtype=torch.bfloat16), print)
    assert policy.shares_prompts
    logp, entropy = policy(random_batch())
    assert logp.dtype == entropy.dtype == policy.score_dtype == torch.float32


@pytest.mark.real
def test_the_real_model_in_float32(real: Any) -> None:
    policy = Policy(real.model, print)
    assert policy.shares_prompts
    batch = random_batch((3, 2), (30, 12), 10, vocabulary=40000)
    logp, entropy = policy(batch)
    expected, expected_entropy = direct(real.model, batch)
    assert (logp - expected).abs().max() < 1e-4
    assert (entropy - expected_entropy).abs().max() < 1e-4
    ours = gradient(real.model, logp, weights(batch))
    theirs = gradient(real.model, expected, weights(batch))
    assert (ours - theirs).norm() < 1e-4 * theirs.norm()
    real.model.zero_grad()

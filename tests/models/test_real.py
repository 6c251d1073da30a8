"""The pretrained model: greedy answers, scores and gradients are those of transformers, and samples the policy's."""

from typing import Any

import pytest
import reasoning_gym
import torch
from tiny import direct, gradient, make_batch, weights

from rlft.base import Processes, Query, Sampling
from rlft.models.decode import left_padded
from rlft.models.load import Loaded
from rlft.models.policy import Policy
from rlft.models.roles import Reference
from rlft.models.sampler import PolicySampler

pytestmark = pytest.mark.real

TASKS = ("chain_sum", "lcm", "simple_equations", "calendar_arithmetic", "spell_backward")


def questions(each: int) -> list[Query]:
    rows = [row for task in TASKS for row in reasoning_gym.create_dataset(task, seed=0, size=each)]
    return [Query(row["question"], ({"role": "user", "content": row["question"]},)) for row in rows]


@pytest.fixture(scope="module")
def sampler(real: Loaded) -> PolicySampler:
    policy = Policy(real.model, print)
    return PolicySampler(policy, Reference(policy), real.chat, 0, "", Processes())


def test_greedy_tokens_are_those_of_generate(real: Loaded, sampler: PolicySampler) -> None:
    limit, queries = 16, questions(10)
    groups = sampler.sample(queries, 1, Sampling(max_tokens=limit, temperature=0), purpose="evaluate", step=0)
    ids, mask = left_padded([real.chat.prompt(q.messages) for q in queries], torch.device("cpu"))
    ends = sorted(real.chat.eos_ids)
    model: Any = real.model
    drawn = model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=limit, do_sample=False, eos_token_id=ends, pad_token_id=0
    )
    for group, row in zip(groups, drawn[:, ids.shape[1] :].tolist(), strict=True):
        completion = group.completions[0]
        assert row[: len(completion.token_ids)] == list(completion.token_ids)
        assert completion.finished == (completion.token_ids[-1] in ends)
        assert completion.finished or len(completion.token_ids) == limit
    assert len(groups) == 50 and len({g.completions[0].token_ids for g in groups}) > 40


def test_scores_and_gradient_are_those_of_transformers(real: Loaded, sampler: PolicySampler) -> None:
    """On samples of the policy: log π of transformers' own logits, and the gradient of the path without any of ours."""
    groups = sampler.sample(questions(1)[:4], 3, Sampling(max_tokens=32), purpose="train", step=1)
    prompts = [real.chat.prompt(g.query.messages) for g in groups]
    batch = make_batch(prompts, [[list(c.token_ids) for c in g.completions] for g in groups])
    assert sampler.policy.native is not None
    plain = Policy(real.model, print)
    plain.native, plain.shares_prompts = None, False
    logp, entropy = sampler.policy(batch)
    ours = gradient(real.model, logp, weights(batch))
    theirs = gradient(real.model, plain(batch)[0], weights(batch))
    assert (ours - theirs).norm() < 1e-4 * theirs.norm()
    real.model.zero_grad()
    with torch.no_grad():
        expected, expected_entropy = direct(real.model, batch)
    assert (logp - expected).abs().max() < 1e-4 and (entropy - expected_entropy).abs().max() < 1e-4
    sampled = torch.cat([torch.tensor(c.logps) for g in groups for c in g.completions])
    assert (expected[batch.mask] - sampled).abs().max() < 1e-4

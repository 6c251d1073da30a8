"""The pretrained model: greedy answers are those of transformers, and samples have the policy's log-probabilities."""

from typing import Any

import pytest
import torch
from tiny import make_batch

from rlft.base import Processes, Query, Sampling
from rlft.models.load import Loaded
from rlft.models.policy import Policy
from rlft.models.roles import Reference
from rlft.models.sampler import PolicySampler, left_padded

pytestmark = pytest.mark.real

QUESTIONS = [
    "What is 12 + 7?",
    "Name a colour.",
    "What is the capital of France?",
    "Say hello in Spanish.",
    "2 + 2 = ?",
    "Write one word that rhymes with cat.",
    "How many legs has a spider?",
    "Count from 1 to 5.",
    "What is 9 times 8?",
    "Is water wet? Answer yes or no, and say in a sentence why that is so.",
    "Who wrote Hamlet?",
    "Spell the word dog.",
]
QUERIES = [Query(text, ({"role": "user", "content": text},)) for text in QUESTIONS]


@pytest.fixture(scope="module")
def sampler(real: Loaded) -> PolicySampler:
    policy = Policy(real.model, print)
    return PolicySampler(policy, Reference(policy), real.chat, 0, "", Processes())


def test_greedy_tokens_are_those_of_generate(real: Loaded, sampler: PolicySampler) -> None:
    limit = 10
    groups = sampler.sample(QUERIES, 1, Sampling(max_tokens=limit, temperature=0), purpose="evaluate", step=0)
    ids, mask = left_padded([real.chat.prompt(q.messages) for q in QUERIES], torch.device("cpu"))
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
    assert len({g.completions[0].token_ids for g in groups}) == 12


def test_samples_have_the_policys_log_probabilities(real: Loaded, sampler: PolicySampler) -> None:
    groups = sampler.sample(QUERIES[:3], 4, Sampling(max_tokens=12), purpose="train", step=0)
    prompts = [real.chat.prompt(g.query.messages) for g in groups]
    batch = make_batch(prompts, [[list(c.token_ids) for c in g.completions] for g in groups])
    with torch.no_grad():
        logp = sampler.policy(batch)[0][batch.mask]
    sampled = torch.cat([torch.tensor(c.logps) for g in groups for c in g.completions])
    assert (logp - sampled).abs().max() < 1e-4

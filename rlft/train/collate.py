"""Groups as tensors."""

import torch
from torch import Tensor

from rlft.base import Batch, Chat, Group
from rlft.base.types import Completion
from rlft.train.steps import step_rewards


def collate(groups: list[Group], chat: Chat, dtype: torch.dtype) -> Batch:
    """Returns the scored groups as a batch on the CPU; rewards and log-probabilities are of `dtype`."""
    prompts = [chat.prompt(g.query.messages) for g in groups]
    rows = [(k, c) for k, g in enumerate(groups) for c in g.completions]
    rewards = [r for g in groups for r in g.rewards]
    width = max(1, *(len(c.token_ids) for _, c in rows))
    depth = max(1, *(len(p) for p in prompts))
    prompt_ids = torch.zeros(len(prompts), depth, dtype=torch.long)
    prompt_mask = torch.zeros(len(prompts), depth, dtype=torch.bool)
    for k, prompt in enumerate(prompts):
        prompt_ids[k, depth - len(prompt) :] = torch.tensor(prompt)
        prompt_mask[k, depth - len(prompt) :] = True
    completions = [c for _, c in rows]
    attention = _padded([[True] * len(c.token_ids) for c in completions], width, torch.bool)
    sampled = None
    if all(c.logps is not None for c in completions):
        sampled = _padded([list(c.logps or ()) for c in completions], width, dtype)
    step_reward = torch.zeros(len(rows), width, dtype=dtype)
    step_end = torch.zeros(len(rows), width, dtype=torch.bool)
    for b, (reward, completion) in enumerate(zip(rewards, completions, strict=True)):
        for t, value in step_rewards(reward, completion, chat).items():
            step_reward[b, t], step_end[b, t] = value, True
    return Batch(
        prompt_ids=prompt_ids,
        prompt_mask=prompt_mask,
        completion_ids=_padded([list(c.token_ids) for c in completions], width, torch.long),
        attention=attention,
        mask=_padded([_trained(c) for c in completions], width, torch.bool),
        group=torch.tensor([k for k, _ in rows]),
        finished=torch.tensor([c.finished for c in completions]),
        reward=torch.tensor([r.value for r in rewards], dtype=dtype),
        step_reward=step_reward,
        step_end=step_end,
        logp_sampled=sampled,
        row=torch.arange(len(rows)),
    )


def _trained(completion: Completion) -> list[bool]:
    return list(completion.trained) if completion.trained is not None else [True] * len(completion.token_ids)


def _padded(rows: list[list[int]] | list[list[bool]] | list[list[float]], width: int, dtype: torch.dtype) -> Tensor:
    out = torch.zeros(len(rows), width, dtype=dtype)
    for i, row in enumerate(rows):
        out[i, : len(row)] = torch.tensor(row, dtype=dtype)
    return out

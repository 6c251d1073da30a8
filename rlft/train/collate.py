"""Groups as tensors."""

import torch
from torch import Tensor

from rlft.base import Batch, Chat, Group
from rlft.base.types import Completion
from rlft.models.config import TeacherConfig
from rlft.train.steps import step_rewards


def collate(groups: list[Group], chat: Chat, dtype: torch.dtype, teacher: TeacherConfig | None = None) -> Batch:
    """Returns the scored groups as a batch on the CPU; rewards and log-probabilities are of `dtype`. A `teacher` that
    reads prompts of its own gets them."""
    prompt_ids, prompt_mask = _left_padded([chat.prompt(g.query.messages) for g in groups])
    read, seen = None, None
    if teacher is not None and teacher.prompt is not None:
        read, seen = _left_padded([chat.prompt(teacher.messages(g.query)) for g in groups])
    rows = [(k, c) for k, g in enumerate(groups) for c in g.completions]
    rewards = [r for g in groups for r in g.rewards]
    width = max(1, *(len(c.token_ids) for _, c in rows))
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
        teacher_prompt_ids=read,
        teacher_prompt_mask=seen,
        row=torch.arange(len(rows)),
    )


def _left_padded(prompts: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Returns tokens and mask [K, P]."""
    depth = max(1, *(len(prompt) for prompt in prompts))
    ids = torch.zeros(len(prompts), depth, dtype=torch.long)
    mask = torch.zeros(len(prompts), depth, dtype=torch.bool)
    for k, prompt in enumerate(prompts):
        ids[k, depth - len(prompt) :] = torch.tensor(prompt)
        mask[k, depth - len(prompt) :] = True
    return ids, mask


def _trained(completion: Completion) -> list[bool]:
    return list(completion.trained) if completion.trained is not None else [True] * len(completion.token_ids)


def _padded(rows: list[list[int]] | list[list[bool]] | list[list[float]], width: int, dtype: torch.dtype) -> Tensor:
    out = torch.zeros(len(rows), width, dtype=dtype)
    for i, row in enumerate(rows):
        out[i, : len(row)] = torch.tensor(row, dtype=dtype)
    return out

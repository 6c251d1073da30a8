"""Drawing completions from the policy, or from the reference."""

from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor

from rlft.base import Completion, Group, Query, Sampling, generator
from rlft.base.processes import Processes
from rlft.models.adapter import merged
from rlft.models.cache import expand_cache, keep_rows
from rlft.models.chat import ChatTemplate
from rlft.models.policy import Policy

ROWS = 64  # decoded together
COMPACT = 0.75  # rows are dropped from the cache when at most this share of them goes on

Drawn = tuple[list[int], list[float]]


class ReferenceModel(Protocol):
    """What turns the policy into π_ref for a while."""

    def active(self) -> AbstractContextManager[Policy]:
        """Returns a context in which the given policy computes π_ref."""
        ...


class PolicySampler:
    """Samples on every process's share of the queries, with the adapter merged once per call."""

    def __init__(
        self,
        policy: Policy,
        reference: ReferenceModel,
        chat: ChatTemplate,
        seed: int,
        fingerprint: str,
        processes: Processes,
    ):
        self.policy, self.reference, self.chat, self.seed = policy, reference, chat, seed
        self.processes = processes
        self._fingerprint = fingerprint

    def fingerprint(self) -> str:
        """Returns a hash of π_ref: its weights, dtype, tokenizer and chat template."""
        return self._fingerprint

    def sample(
        self, queries: list[Query], count: int, sampling: Sampling, *, purpose: str, step: int, reference: bool = False
    ) -> list[Group]:
        """Returns one group of `count` completions per query, in order, on every process (see `rlft.base.Sampler`)."""
        mine = self.processes.share(queries)
        groups: list[Group] = []
        each = max(1, ROWS // count)
        if reference:
            with self.reference.active() as policy, torch.no_grad():
                for start in range(0, len(mine), each):
                    groups += self._draw(policy, mine[start : start + each], count, sampling, purpose, step)
        else:
            with merged(self.policy.model), torch.no_grad():
                for start in range(0, len(mine), each):
                    groups += self._draw(self.policy, mine[start : start + each], count, sampling, purpose, step)
        return self.processes.gather(groups)

    def _draw(
        self, policy: Policy, queries: list[Query], count: int, sampling: Sampling, purpose: str, step: int
    ) -> list[Group]:
        prompts = [self.chat.prompt(q.messages) for q in queries]
        draws = torch.cat(
            [
                torch.rand(count, sampling.max_tokens, generator=generator(self.seed, purpose, step, q.id))
                for q in queries
            ]
        ).to(policy.device)
        decode = _decode if policy.shares_prompts else _generate
        rows = decode(policy, prompts, draws, sampling, self.chat)
        groups = []
        for i, query in enumerate(queries):
            completions = [
                Completion(
                    token_ids=tuple(ids),
                    text=self.chat.text(ids),
                    finished=ids[-1] in self.chat.eos_ids,
                    logps=tuple(logps),
                )
                for ids, logps in rows[i * count : (i + 1) * count]
            ]
            groups.append(Group(query, tuple(completions)))
        return groups


def _decode(
    policy: Policy, prompts: list[list[int]], draws: Tensor, sampling: Sampling, chat: ChatTemplate
) -> list[Drawn]:
    """One prefill per query, its cache expanded to the query's rows, rows dropped as they end."""
    from transformers import DynamicCache

    ids, mask = left_padded(prompts, policy.device)
    cache = DynamicCache()  # of whole layers: a sliding window is the mask's affair
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    out = policy.decoder(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache)
    count = len(draws) // len(prompts)
    group = torch.arange(len(prompts), device=policy.device).repeat_interleave(count)
    cache = expand_cache(cache, group, ids.shape[1] + sampling.max_tokens)
    hidden = out.last_hidden_state[group, -1]
    mask, position = mask[group], positions[group, -1:]
    ends = torch.tensor(sorted(chat.eos_ids), device=policy.device)
    tokens = torch.zeros(len(draws), sampling.max_tokens, dtype=torch.long, device=policy.device)
    logps = torch.zeros(len(draws), sampling.max_tokens, device=policy.device)
    length = torch.full((len(draws),), sampling.max_tokens, device=policy.device)
    rows = torch.arange(len(draws), device=policy.device)  # the rows still in the cache
    live = torch.ones_like(rows, dtype=torch.bool)
    for t in range(sampling.max_tokens):
        token, logp = choose(policy.logits(hidden), draws[rows, t], sampling)
        tokens[rows, t], logps[rows, t] = token, logp
        ended = live & torch.isin(token, ends)
        length[rows[ended]] = t + 1
        live = live & ~ended
        going = int(live.sum())
        if going == 0 or t + 1 == sampling.max_tokens:
            break
        if going <= COMPACT * len(rows):
            keep = torch.nonzero(live).flatten()
            keep_rows(cache, keep)
            rows, mask, position, token, live = rows[keep], mask[keep], position[keep], token[keep], live[keep]
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
        position = position + 1
        hidden = policy.decoder(
            input_ids=token[:, None], attention_mask=mask, position_ids=position, past_key_values=cache
        ).last_hidden_state[:, -1]
    return [
        (ids[:n], values[:n]) for ids, values, n in zip(tokens.tolist(), logps.tolist(), length.tolist(), strict=True)
    ]


def choose(logits: Tensor, draw: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Returns the token [B] of each row of logits [B, V] and its log-probability [B] under the distribution it was
    drawn from, nats. The token is found where the cumulative distribution passes the draw [B] in [0, 1)."""
    if sampling.temperature == 0:
        log_p = torch.log_softmax(logits.float(), -1)
        token = logits.argmax(-1)
        return token, log_p.gather(1, token[:, None])[:, 0]
    p = torch.softmax(logits.float() / sampling.temperature, -1)
    if sampling.top_k or sampling.top_p < 1 or sampling.min_p > 0:
        p = _filtered(p, sampling)
    cdf = p.cumsum(-1)
    at = (draw * cdf[:, -1])[:, None]
    token = torch.searchsorted(cdf, at, right=True).clamp(max=p.shape[1] - 1)
    return token[:, 0], (p.gather(1, token)[:, 0] / cdf[:, -1]).log()


def _filtered(p: Tensor, sampling: Sampling) -> Tensor:
    """Zeroes what top-k, top-p and min-p leave out; the most probable token always stays."""
    order = p.sort(-1, descending=True)
    keep = torch.ones_like(p, dtype=torch.bool)
    if sampling.top_k:
        keep[:, sampling.top_k :] = False
    keep &= order.values.cumsum(-1) - order.values < sampling.top_p
    keep &= order.values >= sampling.min_p * order.values[:, :1]
    keep[:, 0] = True
    return torch.zeros_like(p).scatter(1, order.indices, order.values * keep)


def _generate(
    policy: Policy, prompts: list[list[int]], draws: Tensor, sampling: Sampling, chat: ChatTemplate
) -> list[Drawn]:
    """The same draws through whole sequences, for models whose cache cannot be shared: slow, and right."""
    count = len(draws) // len(prompts)
    sequences = [list(p) for p in prompts for _ in range(count)]
    drawn: list[Drawn] = [([], []) for _ in sequences]
    live = list(range(len(sequences)))
    for t in range(sampling.max_tokens):
        ids, mask = left_padded([sequences[i] for i in live], policy.device)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        out = policy.decoder(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False)
        token, logp = choose(policy.logits(out.last_hidden_state[:, -1]), draws[live, t], sampling)
        for i, chosen, value in zip(live, token.tolist(), logp.tolist(), strict=True):
            sequences[i].append(chosen)
            drawn[i][0].append(chosen)
            drawn[i][1].append(value)
        live = [i for i in live if drawn[i][0][-1] not in chat.eos_ids]
        if not live:
            break
    return drawn


def left_padded(rows: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns token ids [K, P] padded on the left with 0, and their mask [K, P] (long)."""
    width = max(len(r) for r in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, width - len(row) :] = torch.tensor(row)
        mask[i, width - len(row) :] = 1
    return ids.to(device), mask.to(device)

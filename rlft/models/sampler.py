"""Drawing completions from the policy, or from the reference."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch

from rlft.base import Completion, Group, Query, Sampling, generator
from rlft.base.processes import Processes
from rlft.models.adapter import merged
from rlft.models.cache import CachedDecoder, WholeDecoder
from rlft.models.chat import ChatTemplate
from rlft.models.decode import Decoder, decode
from rlft.models.native import NativeDecoder, read_head
from rlft.models.policy import Policy

ROWS = 64  # decoded together on the CPU
MOST = 1024  # on a GPU, where a token takes about as long for 64 rows as for 256 (an H200, 135M parameters)
SHARE = 0.25  # of a GPU's memory, for their keys, values and logits


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

    def close(self) -> None:
        """Nothing was started."""

    def sample(
        self, queries: list[Query], count: int, sampling: Sampling, *, purpose: str, step: int, reference: bool = False
    ) -> list[Group]:
        """Returns one group of `count` completions per query, in order, on every process (see `rlft.base.Sampler`)."""
        mine = self.processes.share(queries)
        groups: list[Group] = []
        with self._active(reference) as policy, torch.no_grad():
            decoder = decoder_of(policy)
            longest = max((len(self.chat.prompt(q.messages)) for q in mine), default=0)
            each = max(1, rows_at_once(policy, longest + sampling.max_tokens) // count)
            for start in range(0, len(mine), each):
                groups += self._draw(decoder, mine[start : start + each], count, sampling, purpose, step)
        return self.processes.gather(groups)

    def _active(self, reference: bool) -> AbstractContextManager[Policy]:
        if reference:
            return self.reference.active()
        if self.policy.native is not None:
            return nullcontext(self.policy)  # the native decoder merges what is on
        return _merged(self.policy)

    def _draw(
        self, decoder: Decoder, queries: list[Query], count: int, sampling: Sampling, purpose: str, step: int
    ) -> list[Group]:
        prompts = [self.chat.prompt(q.messages) for q in queries]
        draws = torch.cat(
            [
                torch.rand(count, sampling.max_tokens, generator=generator(self.seed, purpose, step, q.id))
                for q in queries
            ]
        ).to(self.policy.device)
        rows = decode(decoder, prompts, draws, sampling, frozenset(self.chat.eos_ids))
        groups: list[Group] = []
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


def rows_at_once(policy: Policy, length: int) -> int:
    """Returns how many rows of up to `length` positions are decoded together. It goes by the memory a GPU has, not by
    what is free: a resumed run must decode the same rows together, or they are rounded differently."""
    if policy.device.type != "cuda":
        return ROWS
    config = policy.base.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    keys = 2 * config.num_hidden_layers * heads * width * length * policy.base.get_output_embeddings().weight.itemsize
    logits = 4 * 4 * config.vocab_size  # float32: themselves, probabilities, spans, sums
    memory = torch.cuda.get_device_properties(policy.device).total_memory
    return max(1, min(MOST, int(SHARE * memory) // (keys + logits)))


def decoder_of(policy: Policy) -> Decoder:
    """Returns the fastest way of decoding that a model allows, with the adapters that are on now."""
    if policy.native is not None and policy.plain_head:
        return NativeDecoder(policy.native, read_head(policy.base.get_output_embeddings()))
    return CachedDecoder(policy) if policy.shares_prompts else WholeDecoder(policy)


@contextmanager
def _merged(policy: Policy) -> Iterator[Policy]:
    with merged(policy.model):
        yield policy

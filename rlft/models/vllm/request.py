"""What is asked of vLLM for one query, in the words that its `SamplingParams` and its server share."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rlft.base import Sampling, derive_seed

Drawn = tuple[list[int], list[float]]
"""The tokens of a completion, and their log-probabilities in nats under the distribution they were drawn from."""


@dataclass(frozen=True)
class Request:
    """Completions of one prompt.

    Attributes:
        prompt: its tokens.
        settings: sampling parameters under vLLM's names; `n` completions, of which the i-th draws with `seed` + i.
    """

    prompt: list[int]
    settings: dict[str, Any]


def make_request(prompt: list[int], count: int, sampling: Sampling, ends: Iterable[int], seed: int) -> Request:
    """Returns the request for `count` completions of a prompt; a greedy one is for one, since all would be equal.

    Penalties are named, at values that do nothing, because a server would take those of the model's generation config.
    """
    settings = {
        "n": 1 if sampling.temperature == 0 else count,
        "seed": seed,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "max_tokens": sampling.max_tokens,
        "stop_token_ids": sorted(ends),
        "logprobs": 0,  # of the sampled token, and of no other beside it
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }
    return Request(prompt, settings)


def request_seed(seed: int, purpose: str, step: int, query_id: str) -> int:
    """Returns the seed of a query's first completion: 62 bits, so that the others' fit into vLLM's 63."""
    return derive_seed(seed, purpose, step, query_id) >> 1

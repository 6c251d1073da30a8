"""The sampler of rlft over a vLLM engine."""

from typing import Protocol

from rlft.base import Completion, Group, Processes, Query, Sampling, UserError
from rlft.models.chat import ChatTemplate
from rlft.models.vllm.request import Drawn, Request, make_request, request_seed


class Engine(Protocol):
    """vLLM, wherever it runs.

    Attributes:
        max_model_len: the most tokens of a prompt and its completion together.
    """

    max_model_len: int

    def hold(self, reference: bool) -> None:
        """Lets it draw from π_θ as it is now, or from π_ref. Called on every process."""
        ...

    def draw(self, requests: list[Request]) -> list[list[Drawn]]:
        """Returns the completions of each request, in order."""
        ...

    def close(self) -> None:
        """Ends it, or takes back what it was handed."""
        ...


class VLLMSampler:
    """Samples on every process's share of the queries, with the weights handed over once per call."""

    def __init__(self, engine: Engine, chat: ChatTemplate, seed: int, fingerprint: str, processes: Processes):
        self.engine, self.chat, self.seed, self.processes = engine, chat, seed, processes
        self._fingerprint = fingerprint

    def fingerprint(self) -> str:
        """Returns a hash of π_ref, and of vLLM's drawing from it: other draws than the native ones."""
        return f"{self._fingerprint}-vllm"

    def sample(
        self, queries: list[Query], count: int, sampling: Sampling, *, purpose: str, step: int, reference: bool = False
    ) -> list[Group]:
        """Returns one group of `count` completions per query, in order, on every process (see `rlft.base.Sampler`).
        Raises UserError if the engine has no room for a prompt and its completion."""
        self.engine.hold(reference)
        requests = [
            self._request(q, count, sampling, request_seed(self.seed, purpose, step, q.id))
            for q in self.processes.share(queries)
        ]
        rows = self.engine.draw(requests)
        mine = [
            Group(query, tuple(self._completion(row) for row in (drawn * count if len(drawn) == 1 else drawn)))
            for query, drawn in zip(self.processes.share(queries), rows, strict=True)
        ]
        return self.processes.gather(mine)

    def close(self) -> None:
        """Ends the engine."""
        self.engine.close()

    def _request(self, query: Query, count: int, sampling: Sampling, seed: int) -> Request:
        prompt = self.chat.prompt(query.messages)
        needed = len(prompt) + sampling.max_tokens
        if needed > self.engine.max_model_len:
            raise UserError(
                f"rollout.max_model_len: vLLM has room for {self.engine.max_model_len} tokens, and a prompt of "
                f"{len(prompt)} with a completion of {sampling.max_tokens} takes {needed}; give it more, or lower "
                "data.max_prompt_tokens or data.max_completion_tokens"
            )
        return make_request(prompt, count, sampling, self.chat.eos_ids, seed)

    def _completion(self, drawn: Drawn) -> Completion:
        ids, logps = drawn
        return Completion(
            token_ids=tuple(ids),
            text=self.chat.text(ids),
            finished=ids[-1] in self.chat.eos_ids,
            logps=tuple(logps),
        )

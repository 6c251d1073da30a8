"""Completions of π_θ as it is now, and what all sources that sample share."""

from dataclasses import dataclass
from typing import Any, ClassVar

from rlft.base import Context, Group, Query, RunError, Sampling, UserError
from rlft.data.examples import Example
from rlft.data.source import Source


def distinct(rows: list[tuple[Example, Query]], context: Context) -> list[Query]:
    """Returns the queries, each question once: the draws for a query depend on its id, so a second copy would only get
    the same completions again. Says how many were left out."""
    queries: dict[str, Query] = {}
    for _, query in rows:
        queries.setdefault(query.id, query)
    if len(queries) < len(rows):
        context.say(f"data: {len(rows) - len(queries)} rows dropped, their question is there already")
    return list(queries.values())


@dataclass(kw_only=True)
class Sampled(Source):
    """How completions are drawn.

    Attributes:
        samples_per_prompt: completions per query, G.
        temperature, top_k, top_p, min_p: as in `rlft.base.Sampling`; the length limit is `max_completion_tokens`.
    """

    samples_per_prompt: int = 8
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def check(self, training: bool = True) -> None:
        """Checks the settings alone. Raises UserError."""
        super().check(training)
        if self.samples_per_prompt < 1:
            raise UserError(f"data.samples_per_prompt={self.samples_per_prompt}: expected a whole number of at least 1")
        if self.temperature < 0:
            raise UserError(f"data.temperature={self.temperature}: expected a number of at least 0 (0 is greedy)")
        if self.top_k < 0:
            raise UserError(f"data.top_k={self.top_k}: expected a whole number of at least 0 (0 keeps all tokens)")
        if not 0 < self.top_p <= 1:
            raise UserError(f"data.top_p={self.top_p}: expected a number above 0 and at most 1 (1 keeps all tokens)")
        if not 0 <= self.min_p < 1:
            raise UserError(f"data.min_p={self.min_p}: expected a number from 0 to below 1 (0 keeps all tokens)")

    def _sampling(self) -> Sampling:
        return Sampling(self.max_completion_tokens, self.temperature, self.top_k, self.top_p, self.min_p)

    def _count(self, groups: list[Group]) -> None:
        """Adds sampled groups to the tokens sampled and prefilled so far."""
        chat = self._bound().chat
        self.sampled_tokens += sum(len(c.token_ids) for group in groups for c in group.completions)
        self.prefilled_tokens += sum(len(chat.prompt(group.query.messages)) for group in groups)


@dataclass(kw_only=True)
class Online(Sampled):
    """G completions of π_θ per query, drawn when the batch is."""

    kind: ClassVar[str] = "online"
    on_policy: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.step = 0
        self._queries: list[Query] = []

    def next(self, n: int) -> list[Group]:
        """Samples the next n queries, going on into the next epoch where one ends."""
        sampler = self._bound().sampler
        if sampler is None:
            raise RunError("data=online samples from the policy, and there is no model to sample from")
        groups: list[Group] = []
        for number, chunk in enumerate(self._take(n)):
            # A query that comes again within one step, in the next epoch's part, must not get the same draws again.
            purpose = "rollout" if number == 0 else f"rollout {number}"
            queries = [self._queries[index] for index in chunk]
            groups += sampler.sample(
                queries, self.samples_per_prompt, self._sampling(), purpose=purpose, step=self.step
            )
        self.step += 1
        self._count(groups)
        return groups

    def state_dict(self) -> dict[str, Any]:
        """Returns the steps taken, the queries drawn and the tokens sampled and prefilled so far."""
        counts = {"sampled_tokens": self.sampled_tokens, "prefilled_tokens": self.prefilled_tokens}
        return {"step": self.step, "position": self.position, **counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on after those steps."""
        self.step, self.position = state["step"], state["position"]
        self.sampled_tokens, self.prefilled_tokens = state["sampled_tokens"], state["prefilled_tokens"]

    def _prepare(self, context: Context, rows: list[tuple[Example, Query]]) -> None:
        self._queries = distinct(rows, context)

    def _size(self) -> int:
        return len(self._queries)

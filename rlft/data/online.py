"""Completions of π_θ as it is now, and what all sources that sample share."""

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from rlft.base import Context, Group, Query, RunError, Sampling, UserError
from rlft.data.cache import sample_once
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
    """G completions of π_θ per query, drawn when the batch is.

    Attributes:
        resample: how often a step draws further questions in place of those whose completions are all right or all
            wrong, from which nothing can be learnt: the dynamic sampling of DAPO (arXiv 2503.14476, section 3.2), but
            that it gives up after so many rounds and fills the batch with what it has. What was drawn for nothing is on
            the run's bill. 0 takes groups as they come.
    """

    kind: ClassVar[str] = "online"
    on_policy: ClassVar[bool] = True

    resample: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.step = 0
        self._queries: list[Query] = []
        self._left_out: list[Group] = []

    @property
    def offers(self) -> frozenset[str]:
        """Also π_θ's answers, and π_ref's."""
        return super().offers | {"feedback", "measure"}

    def check(self, training: bool = True) -> None:
        """Checks the settings alone. Raises UserError."""
        super().check(training)
        if self.resample < 0:
            raise UserError(f"data.resample={self.resample}: expected a whole number of at least 0")
        if self.resample and self.samples_per_prompt < 2:
            raise UserError(
                f"data.resample={self.resample}: every group of data.samples_per_prompt=1 is all right or all wrong; "
                "type data.samples_per_prompt=8, or data.resample=0"
            )

    def next(self, n: int) -> list[Group]:
        """Samples the next n queries, and further ones where `resample` says so: groups then come with their rewards,
        those with right and wrong completions first."""
        context, seen = self._bound(), Counter[int]()
        rows = iter(self._chosen(n * (1 + self.resample)))
        mixed: list[Group] = []
        others: list[Group] = []
        for _ in range(1 + self.resample):
            drawn = self._sample(list(islice(rows, n - len(mixed))), seen)
            for group in context.score(drawn) if self.resample else drawn:
                (mixed if _is_mixed(group) else others).append(group)
        self.position += len(mixed) + len(others)
        missing = n - len(mixed)
        self._left_out = others[missing:]
        self.step += 1
        return mixed + others[:missing]

    def observe(self, groups: list[Group]) -> None:
        """Hands the groups on to the curriculum, and those that were left out of the batch."""
        super().observe([*groups, *self._left_out])

    def metrics(self) -> dict[str, float | None]:
        """Returns also how many groups were drawn beyond the batch, where there may be any."""
        return super().metrics() | ({"group/resampled": len(self._left_out)} if self.resample else {})

    def state_dict(self) -> dict[str, Any]:
        """Returns the steps taken, the queries drawn, the tokens sampled, and what the curriculum learnt."""
        return {"step": self.step, **super().state_dict(), **{name: getattr(self, name) for name in _COUNTS}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on after those steps."""
        super().load_state_dict(state)
        self.step = state["step"]
        for name in _COUNTS:
            setattr(self, name, state[name])

    def _sample(self, rows: list[int], seen: Counter[int]) -> list[Group]:
        """Returns a group for each row, in order. `seen` counts the rows drawn in this step so far: one that comes
        again must not get the same draws again."""
        sampler = self._bound().sampler
        if sampler is None:
            raise RunError("data=online samples from the policy, and there is no model to sample from")
        if not rows:
            return []
        turns: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            turns.setdefault(seen[row], []).append(place)
            seen[row] += 1
        found: dict[int, Group] = {}
        for turn, places in turns.items():
            purpose = "rollout" if turn == 0 else f"rollout {turn}"
            queries = [self._queries[rows[place]] for place in places]
            drawn = sampler.sample(queries, self.samples_per_prompt, self._sampling(), purpose=purpose, step=self.step)
            found |= dict(zip(places, drawn, strict=True))
        groups = [found[place] for place in range(len(rows))]
        self._count(groups)
        return groups

    def _measure(self, queries: list[Query], count: int) -> list[float]:
        """Returns π_ref's share of right answers to each query, on the run's bill."""
        context = self._bound()
        groups, self.spared_seconds = sample_once(context, queries, count, self._sampling())
        self._count(groups)
        scored = [[reward.value > 0.5 for reward in group.rewards] for group in context.score(groups)]
        right = sum(map(sum, scored))
        context.say(f"curriculum: π_ref is right in {right} of {count * len(groups)} answers")
        return [sum(answers) / count for answers in scored]

    def _prepare(self, context: Context, rows: list[tuple[Example, Query]]) -> None:
        self._queries = distinct(rows, context)

    def _asked(self) -> list[Query]:
        return self._queries


_COUNTS = ("sampled_tokens", "prefilled_tokens")


def _is_mixed(group: Group) -> bool:
    """Whether some completions of a group are right and some are not."""
    return len({reward.value > 0.5 for reward in group.rewards}) > 1

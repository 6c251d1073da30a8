"""The data-source plugin: where (q, o) come from."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from rlft.base.curriculum import Curriculum
from rlft.base.types import Completion, Group, Message, Query


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn.

    Attributes:
        max_tokens: the most tokens a completion may have, its end-of-turn token included.
        temperature: 0 is greedy.
        top_k: keep the k most probable tokens; 0 keeps all.
        top_p: keep the smallest set of tokens whose probability reaches this; 1 keeps all.
        min_p: drop tokens less probable than this share of the most probable one; 0 keeps all.
    """

    max_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0


class Chat(Protocol):
    """The one place where conversations become tokens and back."""

    def prompt(self, messages: tuple[Message, ...]) -> list[int]:
        """Returns the tokens of a conversation rendered up to where the answer begins."""
        ...

    def completion(self, messages: tuple[Message, ...], text: str) -> Completion:
        """Returns a recorded answer to `messages` as tokens, its end-of-turn token included."""
        ...

    def text(self, token_ids: list[int]) -> str:
        """Returns tokens as text, without special tokens."""
        ...


class Sampler(Protocol):
    """What draws completions from the policy as it is now, or from the reference."""

    def sample(
        self, queries: list[Query], count: int, sampling: Sampling, *, purpose: str, step: int, reference: bool = False
    ) -> list[Group]:
        """Returns one group of `count` completions per query, in order, on every process. The draws for a query depend
        on (seed, purpose, step, query.id) alone. With `reference` they come from π_ref."""
        ...

    def fingerprint(self) -> str:
        """Returns a hash of π_ref: its weights, dtype, tokenizer and chat template."""
        ...

    def close(self) -> None:
        """Ends what was started to sample."""
        ...


@dataclass(frozen=True)
class Context:
    """What a data source is given when a run starts.

    Attributes:
        seed: the run's seed.
        chat: rendering and tokenising.
        sampler: draws completions; None where nothing is to be sampled (`rlft validate`).
        score: rewards groups as the run's reward function does, before it ranks, clips or scales over the batch. The
            loop does not score again what a source returns with its rewards.
        cache_dir: where data that is costly to make again may be kept.
        say: prints one line for the user.
        training: False where only `held_out` will be asked for, so that nothing need be sampled.
        curriculum: which questions come next; None is every one once an epoch.
    """

    seed: int
    chat: Chat
    sampler: Sampler | None
    score: Callable[[list[Group]], list[Group]]
    cache_dir: Path
    say: Callable[[str], None]
    training: bool = True
    curriculum: Curriculum | None = None


class DataSource(ABC):
    """The first part of a method. Subclasses are dataclasses whose fields are the schema of the recipe's `data` node.

    Attributes:
        on_policy: whether `next` draws its completions from π_θ as it is then.
        sampled_tokens, prefilled_tokens: tokens sampled so far on this source's account, those read from a cache
            included, and tokens of the prompts they were sampled from, each prompt once per draw.
        kept_share: how much of what was sampled once is kept to train on.
        spared_seconds: what reading them from a cache spared; a run is billed it, so that it costs what it would alone.
        labels: how many recorded completions are good and how many bad, each for itself; None where none is labelled.
    """

    on_policy: ClassVar[bool] = False
    sampled_tokens: int = 0
    prefilled_tokens: int = 0
    kept_share: float = 1.0
    spared_seconds: float = 0.0
    labels: tuple[int, int] | None = None

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is and of what, for the head of a run, e.g. "online · chain_sum"."""

    @property
    def asks(self) -> str:
        """What `held_out` comes from, for the head of an evaluation; `name` unless a subclass knows better."""
        return self.name

    @property
    def offers(self) -> frozenset[str]:
        """What a curriculum may need that this source has: "order" (its rows may come in any), "feedback" (π_θ answers
        them), "measure" (π_ref can be asked), "levels" (its task has some)."""
        return frozenset()

    @abstractmethod
    def bind(self, context: Context) -> None:
        """Loads and checks the data (and samples it, where it is sampled once). Raises UserError with the row named."""

    @abstractmethod
    def next(self, n: int) -> list[Group]:
        """Returns the next n groups, the same on every process."""

    @abstractmethod
    def held_out(self) -> list[Query]:
        """Returns the questions kept for evaluation; `next` never returns one of them."""

    def held_out_groups(self, questions: int) -> list[Group]:
        """Returns completions of the first so many held-out questions that have some, for methods that train scores:
        with rewards where the data says them, and in the query's metadata `writers`, one for each completion, and
        `strength`, how often each writer is right, where it says who wrote them. None unless a source has any."""
        return []

    def observe(self, groups: list[Group]) -> None:  # noqa: B027  # most sources do not learn
        """Takes in the groups that `next` returned, with rewards as `Context.score` gives them, on every process."""

    def metrics(self) -> dict[str, float | None]:
        """Returns what metrics.jsonl gets of the latest draw."""
        return {}

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Returns its position, as plain JSON values."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a position that `state_dict` returned."""

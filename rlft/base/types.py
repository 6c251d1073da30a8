"""Queries, completions and groups, in the words of the paper: q, o and the G completions of one q."""

import hashlib
import unicodedata
from dataclasses import dataclass, field, replace
from typing import Any

Message = dict[str, str]
"""One turn of a conversation: {"role": "system" | "user" | "assistant", "content": text}."""


def question_id(text: str) -> str:
    """Returns 16 hex digits that name a question whatever its case, spacing or Unicode form.

    >>> question_id("What is  2+2?") == question_id("what is 2+2? ")
    True
    """
    normal = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return hashlib.sha256(normal.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Query:
    """q: a conversation that awaits an answer.

    Attributes:
        id: hash of the normalised question (`question_id`), so that a held-out question is recognised by whatever
            index or file it came.
        messages: the turns up to and including the last user turn, as sent to the chat template.
        answer: the reference answer, if there is one.
        metadata: whatever else a reward may need (the source row, the task's name).
    """

    id: str
    messages: tuple[Message, ...]
    answer: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Completion:
    """o: the tokens that follow a query.

    Attributes:
        token_ids: the tokens, with the end-of-turn token last if the completion is finished.
        text: the tokens decoded, without special tokens.
        finished: whether it ended by itself; False if it was cut at the limit.
        trained: per token, whether it takes part in the gradient; None means all of them.
        logps: per token, the sampler's log-probability in nats, at the sampling temperature; None if not sampled here.
    """

    token_ids: tuple[int, ...]
    text: str
    finished: bool = True
    trained: tuple[bool, ...] | None = None
    logps: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Reward:
    """r(q, o).

    Attributes:
        value: the scalar the algorithm sees.
        parts: the named parts it is made of, for the logs.
        steps: (characters of the text up to the step's end, reward) pairs in their order, where the reward is given per
            step. A step that ends with the text takes in the tokens that show none, such as the end of the turn.
        extracted: the answer that was read out of the completion, if any.
        error: why the reward could not be computed, if it could not.
    """

    value: float
    parts: dict[str, float] = field(default_factory=dict)
    steps: tuple[tuple[int, float], ...] = ()
    extracted: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Group:
    """The completions of one query: 1 for SFT, 2 for a preference pair (the preferred one first), G for GRPO."""

    query: Query
    completions: tuple[Completion, ...]
    rewards: tuple[Reward, ...] = ()

    def scored(self, rewards: list[Reward]) -> "Group":
        """Returns the group with one reward per completion."""
        if len(rewards) != len(self.completions):
            raise ValueError(f"{len(rewards)} rewards for {len(self.completions)} completions of query {self.query.id}")
        return replace(self, rewards=tuple(rewards))

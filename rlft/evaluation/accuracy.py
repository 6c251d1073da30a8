"""Answers to held-out questions, greedy or drawn, and how many of them are right."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from rlft.base import Chat, Completion, Group, Message, Query, RewardFunction, Sampler, Sampling

RIGHT = 0.5  # a verifier's reward from which an answer counts as right


@dataclass(frozen=True)
class Answer:
    """One held-out question as the model answered it, once.

    Attributes:
        question: the last turn of what the model read, its prompt around it. earlier: the turns before it, the system
            turn among them; None in files from before they were kept.
    """

    id: str
    question: str
    text: str
    gold: str | None
    extracted: str | None
    correct: bool
    finished: bool
    tokens: int
    earlier: list[Message] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return asdict(self)


def answer_greedily(sampler: Sampler, queries: list[Query], max_tokens: int) -> list[Group]:
    """Returns each question with the model's most probable answer, token by token, at most `max_tokens` long."""
    return sampler.sample(queries, 1, Sampling(max_tokens, temperature=0.0), purpose="evaluation", step=0)


def draw_answers(sampler: Sampler, queries: list[Query], count: int, sampling: Sampling) -> list[Group]:
    """Returns each question with `count` answers, drawn from the model."""
    return sampler.sample(queries, count, sampling, purpose="evaluation samples", step=0)


def cut(groups: list[Group], max_tokens: int, chat: Chat) -> list[Group]:
    """Returns the answers as a lower limit would have left them: a greedy answer's first tokens do not depend on it."""
    return [replace(g, completions=tuple(_cut(c, max_tokens, chat) for c in g.completions), rewards=()) for g in groups]


def _cut(completion: Completion, max_tokens: int, chat: Chat) -> Completion:
    if len(completion.token_ids) <= max_tokens:
        return completion
    ids = completion.token_ids[:max_tokens]
    return Completion(token_ids=ids, text=chat.text(list(ids)), finished=False)


def verify(groups: list[Group], verifier: RewardFunction) -> list[list[Answer]]:
    """Returns each question's answers, judged."""
    return [
        [
            Answer(
                id=group.query.id,
                question=group.query.messages[-1]["content"],
                text=completion.text,
                gold=group.query.answer,
                extracted=reward.extracted,
                correct=reward.value >= RIGHT,
                finished=completion.finished,
                tokens=len(completion.token_ids),
                earlier=list(group.query.messages[:-1]),
            )
            for completion, reward in zip(group.completions, group.rewards, strict=True)
        ]
        for group in verifier.score(groups)
    ]


def accuracy(answers: list[Answer]) -> float:
    """Returns the share of right answers."""
    return sum(a.correct for a in answers) / len(answers)


def cut_share(answers: list[Answer]) -> float:
    """Returns the share of answers that were cut off at the limit."""
    return sum(not a.finished for a in answers) / len(answers)

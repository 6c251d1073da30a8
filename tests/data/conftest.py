"""A chat and a sampler that need no model, and small files in GSM8K's format."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rlft.base import Completion, Context, Group, Message, Query, Reward, Sampling, derive_seed

END = 0

Make = Callable[..., Context]


class FakeChat:
    """A token per word: its length; the role's length first."""

    def prompt(self, messages: tuple[Message, ...]) -> list[int]:
        return [n for m in messages for n in (len(m["role"]), *map(len, m["content"].split()))]

    def completion(self, messages: tuple[Message, ...], text: str) -> Completion:
        return Completion((*map(len, text.split()), END), text)

    def text(self, token_ids: list[int]) -> str:
        return " ".join(map(str, token_ids))


@dataclass
class FakeSampler:
    """Draws depend on (seed, purpose, step, query id) alone; about one in three is the right answer."""

    seed: int = 0
    weights: str = "weights"
    chance: int = 3
    calls: list[tuple[list[str], str, int, bool]] = field(default_factory=list)
    fail_after: int | None = None

    def sample(
        self, queries: list[Query], count: int, sampling: Sampling, *, purpose: str, step: int, reference: bool = False
    ) -> list[Group]:
        if self.fail_after is not None and len(self.calls) >= self.fail_after:
            raise KeyboardInterrupt
        self.calls.append(([q.id for q in queries], purpose, step, reference))
        return [Group(q, tuple(self._draw(q, i, sampling, purpose, step) for i in range(count))) for q in queries]

    def _draw(self, query: Query, i: int, sampling: Sampling, purpose: str, step: int) -> Completion:
        draw = derive_seed(self.seed, purpose, step, query.id, i)
        text = str(query.answer) if self.chance and draw % self.chance == 0 else f"{draw % 97} (wrong)"
        tokens = tuple((draw >> shift) % 50 + 1 for shift in range(1 + draw % min(5, sampling.max_tokens)))
        return Completion((*tokens, END), text, logps=tuple(-0.1 * (token + 1) / 3 for token in (*tokens, END)))

    def fingerprint(self) -> str:
        return self.weights


def exact(groups: list[Group]) -> list[Group]:
    """1 for the reference answer itself, 0 otherwise."""
    return [g.scored([Reward(float(c.text == g.query.answer)) for c in g.completions]) for g in groups]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def context(tmp_path: Path, said: list[str]) -> Make:
    """Makes a context; keywords: seed, sampler, score."""

    def make(seed: int = 0, sampler: FakeSampler | None = None, score: Any = exact) -> Context:
        return Context(
            seed=seed,
            chat=FakeChat(),
            sampler=sampler or FakeSampler(seed),
            score=score,
            cache_dir=tmp_path / "cache",
            say=said.append,
        )

    return make


@pytest.fixture
def sampler() -> type[FakeSampler]:
    return FakeSampler


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, list[Any]], str]:
    """Writes rows as jsonl; returns the path."""

    def to(name: str, rows: list[Any]) -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return to


@pytest.fixture
def gsm8k(write: Callable[[str, list[Any]], str]) -> str:
    """A file of 200 questions in GSM8K's format."""
    return write(
        "gsm8k.jsonl",
        [
            {
                "question": f"Ann has {n} pens and buys {n + 1} more. How many has she?",
                "answer": f"She has {n}+{n + 1} = <<{n}+{n + 1}={2 * n + 1}>>{2 * n + 1}.\n#### {2 * n + 1:,}",
            }
            for n in range(400, 600)
        ],
    )

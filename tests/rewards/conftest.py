"""Small groups, and a reward function of a user's."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rlft.base import Completion, Group, Query
from rlft.rewards import python

TEMPLATE = "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} </s> {% endfor %}"


def group(*texts: str, answer: str | None = None, finished: bool = True, **metadata: Any) -> Group:
    """Returns one query with a completion for each text; a completion has as many tokens as its text has words."""
    query = Query("q", ({"role": "user", "content": "?"},), answer, metadata)
    return Group(query, tuple(Completion(tuple(range(len(t.split()))), t, finished) for t in texts))


def judge_config(words: int, labels: int) -> Any:
    """Returns the configuration of a tiny Llama that judges texts of so many different words."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=words,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        num_labels=labels,
        initializer_range=0.5,
    )


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Writes an allowed module; returns the reference to its function `f`."""
    known = set(python._allowed)

    def write(source: str) -> str:
        path = tmp_path / "mine.py"
        path.write_text(source)
        python.allow([str(path)])
        return f"{path}:f"

    yield write
    python._allowed.clear()
    python._allowed.update(known)

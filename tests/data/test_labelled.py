"""Completions with a label each: from rows that have one, from pairs, and what is said of other rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlft.base import UserError
from rlft.data import Labelled
from rlft.rewards import Label

ROWS = [
    {"prompt": "What is 2 + 2?", "completion": "4", "label": True},
    {"prompt": "What is 2 + 2?", "completion": "5", "label": False},
    {"prompt": "What is 3 + 3?", "completion": "6", "label": 1},
]


def bound(tmp_path: Path, context: Any, rows: list[dict[str, Any]], **fields: Any) -> Labelled:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = Labelled(train_file=str(file), held_out_share=0.0, **fields)
    source.bind(context())
    return source


def labels(source: Labelled, n: int) -> list[tuple[str, str, float]]:
    groups = source.next(n)
    scored = Label().score(groups)
    return sorted((g.query.messages[-1]["content"], g.completions[0].text, g.rewards[0].value) for g in scored)


def test_every_completion_has_its_label(tmp_path: Path, context: Any, said: list[str]) -> None:
    source = bound(tmp_path, context, ROWS)
    assert labels(source, 3) == [
        ("What is 2 + 2?", "4", 1.0), ("What is 2 + 2?", "5", 0.0), ("What is 3 + 3?", "6", 1.0)
    ]  # fmt: skip
    assert "data: 2 good and 1 bad completions" in said and source.labels == (2, 1)
    assert all(len(group.completions) == 1 for group in source.next(3))
    assert not Label().judges


def test_pairs_are_taken_apart(tmp_path: Path, context: Any) -> None:
    source = bound(tmp_path, context, [{"prompt": "What is 3 * 4?", "chosen": "12", "rejected": "7"}])
    assert labels(source, 2) == [("What is 3 * 4?", "12", 1.0), ("What is 3 * 4?", "7", 0.0)]


def test_what_is_too_long_is_dropped(tmp_path: Path, context: Any, said: list[str]) -> None:
    long = {"prompt": "What is 1?", "completion": "one " * 50, "label": 0}
    source = bound(tmp_path, context, [*ROWS, long], max_completion_tokens=20)
    assert "data: 1 completions dropped, they are over data.max_completion_tokens=20" in said
    assert len({text for _, text, _ in labels(source, 3)}) == 3


def test_rows_without_labels_are_refused(tmp_path: Path, context: Any) -> None:
    with pytest.raises(UserError, match="the rows have no labels; expected prompt, completion and label"):
        bound(tmp_path, context, [{"question": "What is 1?", "answer": "1"}])
    with pytest.raises(UserError, match=r"data=offline data\.keep=all"):
        Labelled(task="chain_sum").check()


def test_a_completion_without_a_label_is_refused(tmp_path: Path, context: Any) -> None:
    (group,) = bound(tmp_path, context, ROWS).next(1)
    plain = group.query.__class__("q", group.query.messages, None, {})
    with pytest.raises(UserError, match="query q has no label; take a data source that has"):
        Label().rate(plain, group.completions)

"""The held-out split depends on the question alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlft.base import question_id
from rlft.data import Online, bucket, is_held_out

questions = st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1), min_size=40, unique_by=question_id)


@given(st.text(), st.floats(0, 0.99), st.floats(0, 0.99))
def test_what_a_smaller_share_holds_out_a_larger_one_does(text: str, a: float, b: float) -> None:
    key = question_id(text)
    assert 0 <= bucket(key) < 1
    assert is_held_out(key, max(a, b)) or not is_held_out(key, min(a, b))
    assert not is_held_out(key, 0.0)


def test_the_share_is_kept() -> None:
    held = sum(is_held_out(question_id(f"question {i}"), 0.1) for i in range(20_000))
    assert held == pytest.approx(2_000, abs=4 * (20_000 * 0.1 * 0.9) ** 0.5)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=questions, data=st.data())
def test_disjoint_stable_and_independent_of_order_and_seed(
    tmp_path: Path, context: Any, texts: list[str], data: st.DataObject
) -> None:
    def split(rows: list[str], seed: int, **fields: Any) -> tuple[list[str], set[str]]:
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(json.dumps({"question": text, "answer": "1"}) + "\n" for text in rows))
        source = Online(train_file=str(file), held_out_share=0.3, samples_per_prompt=1, **fields)
        source.bind(context(seed))
        drawn = {group.query.id for group in source.next(2 * len(rows))}
        return [query.id for query in source.held_out()], drawn

    held, drawn = split(texts, 0)
    assert not set(held) & drawn
    assert set(held) | drawn == {question_id(text) for text in texts}
    assert (held, drawn) == split(data.draw(st.permutations(texts)), 7, shuffle=False, prompt="Q: {question}")

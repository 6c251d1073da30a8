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


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


@pytest.mark.parametrize("apart", [False, True])
def test_validation_questions_are_neither_trained_nor_tested_on(apart: bool, tmp_path: Path, context: Any) -> None:
    """Nor do they change which questions are held out."""
    rows = [json.dumps({"question": f"question {n}", "answer": "1"}) + "\n" for n in range(300)]
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    train.write_text("".join(rows))
    test.write_text("".join(rows[:30]))

    def parts(**fields: Any) -> tuple[set[str], set[str]]:
        source = Online(
            train_file=str(train), eval_file=str(test) if apart else None, held_out_share=0.2, samples_per_prompt=1,
            **fields,
        )  # fmt: skip
        source.bind(context())
        return {g.query.id for g in source.next(source.rows)}, {q.id for q in source.held_out()}

    everything, tested = parts()
    trained, still_tested = parts(validation_share=0.3)
    chosen_from, validation = parts(validation_share=0.3, evaluate_on="validation")
    assert still_tested == tested and chosen_from == trained
    assert everything == trained | validation and not (trained & validation or tested & validation)
    start = 0.0 if apart else 0.2
    assert validation == {key for key in everything if start <= bucket(key) < start + 0.3}
    assert 50 < len(validation) < 130

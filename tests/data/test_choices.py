"""Rows of multiple choice: every way of writing the options and the right one, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rlft.base import UserError, question_id
from rlft.data import Online, Recorded
from rlft.data.examples import parse
from rlft.data.files import Row
from rlft.data.formats import detect

CITIES = ["Oslo", "Rome", "Paris"]
ASKED = "Which is in Italy?\nA. Oslo\nB. Rome\nC. Paris"


def row(**values: Any) -> Row:
    return Row("f.jsonl line 3", 3, {"question": "Which is in Italy?", **values})


@pytest.mark.parametrize(
    "values",
    [
        {"choices": CITIES, "answer": "B"},
        {"choices": CITIES, "answer": "b"},
        {"choices": CITIES, "answer": "(B)"},
        {"choices": CITIES, "answer": 1},  # MMLU
        {"choices": CITIES, "answer": "1"},
        {"choices": CITIES, "answer": " rome "},
        {"choices": {"label": ["1", "2", "3"], "text": CITIES}, "answerKey": "2"},  # ARC
        {"choices": {"text": CITIES, "label": ["A", "B", "C"]}, "answerKey": "B"},
        {"options": ["A)Oslo", "B)Rome", "C)Paris"], "correct": "B", "rationale": "…"},  # AQuA
        {"options": ["A. Oslo", "B. Rome", "C. Paris"], "label": 1},
        {"A": "Oslo", "B": "Rome", "C": "Paris", "E": "no fifth without a fourth", "answer": "B"},
    ],
)
def test_every_way_of_writing_it_is_one_example(values: dict[str, Any]) -> None:
    assert detect([row(**values)], {}) == "multiple_choice"
    example = parse(row(**values), "multiple_choice", {})
    assert (example.question, example.answer, example.solution) == (ASKED, "B", "B")
    assert example.metadata == {"choices": CITIES}


def test_other_names_are_mapped_and_a_worked_solution_is_kept() -> None:
    columns = {"question": "stem", "A": "op_a", "B": "op_b", "C": "op_c", "answer": "key", "solution": "why"}
    values = {"stem": "Which is in Italy?", **dict(zip(("op_a", "op_b", "op_c"), CITIES, strict=True))}
    line = Row("f", 1, {**values, "key": 1, "why": "Rome is."})
    assert detect([line], columns) == "multiple_choice"
    example = parse(line, "multiple_choice", columns)
    assert (example.question, example.answer, example.solution) == (ASKED, "B", "Rome is.")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"choices": CITIES, "answer": "D"}, r"line 3: the options are A\. Oslo, B\. Rome, C\. Paris, and 'D' .* none"),
        ({"choices": CITIES, "answer": 3}, "and 3 in column answer is none of them: expected a letter"),
        ({"choices": CITIES, "answer": -1}, "and -1 in column answer is none of them"),
        ({"choices": CITIES, "answer": True}, "and True in column answer is none of them"),
        ({"choices": CITIES, "answer": None}, "and None in column answer is none of them"),
        ({"choices": [2, 0, 1], "answer": 1}, "names two options, one by its index and one by its text"),
        ({"choices": ["Oslo"], "answer": "A"}, "line 3: expected at least two options"),
        ({"choices": "Oslo, Rome", "answer": "A"}, "expected at least two options.*found 'Oslo, Rome'"),
        ({"choices": ["Oslo", ""], "answer": "A"}, "expected at least two options"),
        ({"choices": ["x"] * 27, "answer": "A"}, "expected at least two options"),
        ({"A": "Oslo", "answer": "A"}, r"expected at least two options.*found \['Oslo'\]"),
    ],
)
def test_what_is_no_choice_is_refused_with_the_row_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(row(**values), "multiple_choice", {})


def test_a_number_is_the_index_where_the_options_are_numbers_in_their_places() -> None:
    """A text that is an option is that option, not an index."""
    assert parse(row(choices=[0, 1, 2], answer=1), "multiple_choice", {}).answer == "B"
    assert parse(row(choices=[5, 6, 7], answer=6), "multiple_choice", {}).answer == "B"
    assert parse(row(choices=[2, 0, 1], answer="1"), "multiple_choice", {}).answer == "C"


def test_options_tell_questions_apart_and_reach_the_reward(
    write: Callable[[str, list[Any]], str], context: Any
) -> None:
    rows = [{"question": "Which?", "choices": pair, "answer": 0} for pair in (["x", "y"], ["x", "z"])]
    source = Online(eval_file=write("q.jsonl", rows), prompt="{question}\nAnswer with the letter.")
    source.bind(replace(context(), training=False))
    asked = {query.metadata["choices"][1]: query for query in source.held_out()}
    assert asked["y"].messages[-1]["content"] == "Which?\nA. x\nB. y\nAnswer with the letter."
    assert {query.id for query in asked.values()} == {question_id(f"Which?\nA. x\nB. {b}") for b in "yz"}


def test_the_right_letter_can_be_trained_on(write: Callable[[str, list[Any]], str], context: Any) -> None:
    rows = [{"question": f"{n}?", "choices": ["x", "y"], "answer": "y"} for n in range(3)]
    source = Recorded(train_file=write("q.jsonl", rows), held_out_share=0)
    source.bind(context())
    assert {group.completions[0].text for group in source.next(3)} == {"B"}

"""Detection of formats, the user's mapping, and rows of every format as examples."""

from typing import Any

import pytest

from rlft.base import UserError
from rlft.data.examples import parse
from rlft.data.files import Row
from rlft.data.formats import FORMATS, MODELS, UNSUPPORTED, detect

TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
SOLUTIONS = {
    "question": "q",
    "ground_truth": "2+2 = 4\nA: 1,004",
    **{model: {"is_correct": i < 1, "solution": f"s{i}"} for i, model in enumerate(MODELS)},
}
SAMPLES: dict[str, dict[str, Any]] = {
    "gsm8k_solutions": SOLUTIONS,
    "preference": {"prompt": "q", "chosen": "a", "rejected": "b", "completion": "c", "label": True},
    "labelled": {"prompt": "q", "completion": "a", "label": True, "messages": TURNS},
    "messages": {"messages": TURNS, "conversations": TURNS},
    "conversations": {"conversations": TURNS, "instruction": "q", "output": "a"},
    "instruction": {"instruction": "q", "input": "", "output": "a", "question": "q", "answer": "a"},
    "multiple_choice": {"question": "q", "choices": ["x", "#### 4"], "answer": "#### 4"},
    "gsm8k": {"question": "q", "answer": "2+2 = 4\n#### 4", "completion": "c"},
    "question_answer": {"problem": "q", "solution": "a", "prompt": "q", "completion": "c"},
    "prompt_completion": {"prompt": "q", "completion": "a", "text": "t"},
    "question": {"prompt": "q"},
}


def row(values: dict[str, Any]) -> Row:
    return Row("f.jsonl line 3", 3, values)


def test_the_table_has_every_format() -> None:
    assert set(SAMPLES) == set(FORMATS) - set(UNSUPPORTED)


@pytest.mark.parametrize("name", SAMPLES)
def test_detected_in_order_and_read(name: str) -> None:
    assert detect([row(SAMPLES[name])], {}) == name
    example = parse(row(SAMPLES[name]), name, {})
    assert example.question.split("\n")[0] == "q"
    assert (example.where, example.number) == ("f.jsonl line 3", 3)
    assert (example.solution is None) == (name == "question")


@pytest.mark.parametrize("columns", [{"input_ids": [1, 2]}, {"text": "some text"}])
def test_formats_without_a_question_are_refused(columns: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"f\.jsonl line 3: rows of .*data\.columns="):
        detect([row(columns)], {})


def test_an_override_wins_over_the_order() -> None:
    both = {**SAMPLES["preference"], "instruction": "q", "output": "recorded"}
    assert detect([row(both)], {}, "instruction") == "instruction"
    with pytest.raises(UserError, match=r"data\.format=messages does not fit .*It needs messages: messages"):
        detect([row(both)], {}, "messages")


def test_unknown_columns_give_a_mapping_to_paste() -> None:
    svamp = row({"Body": "b", "Question": "how many", "Answer": 4.0})
    with pytest.raises(UserError) as error:
        detect([svamp], {})
    message = str(error.value)
    assert "the columns Body, Question, Answer" in message
    assert "Nearest is question_answer: prompt|question|problem + answer|solution" in message
    assert "data.columns='{question: Body+Question, answer: Answer}'" in message
    with pytest.raises(UserError, match=r"data\.columns='\{chosen: chosen_text, rejected: rejected_text\}'"):
        detect([row({"chosen_text": "a", "rejected_text": "b"})], {})


def test_mapped_columns_may_be_joined_and_go_first() -> None:
    columns = {"question": "Body+Question", "answer": "Answer"}
    svamp = row({"Body": "He has 3.", "Question": "How many?", "Answer": 3.0, "messages": TURNS})
    assert detect([svamp], columns) == "question_answer"
    example = parse(svamp, "question_answer", columns)
    assert (example.question, example.answer) == ("He has 3. How many?", "3.0")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"quesion": "Body"}, r"quesion is not a name .*Did you mean question\?"),
        ({"question": "body"}, r"line 3: data\.columns maps question to body, .*Body, Answer\. Did you mean Body"),
        ({"question": "Body+Rest"}, r"maps question to Rest"),
    ],
)
def test_mistakes_in_the_mapping(columns: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        detect([row({"Body": "b", "Answer": 1})], columns)


def test_gsm8k_has_the_number_and_the_steps() -> None:
    values = {"question": "q", "answer": "480*2 = <<480*2=960>>960\n#### 960\ntwice\n#### 1,920"}
    example = parse(row(values), "gsm8k", {})
    assert (example.answer, example.solution) == ("1920", values["answer"])


def test_model_solutions_are_sorted_by_label() -> None:
    example = parse(row(SOLUTIONS), "gsm8k_solutions", {})
    assert (example.answer, example.right, example.wrong) == ("1004", ("s0",), ("s1", "s2", "s3"))


def test_an_instruction_with_input() -> None:
    example = parse(row({"instruction": "Add.", "input": "1 2", "output": "3"}), "instruction", {})
    assert example.question == "Add.\n\n1 2"
    pair = {"instruction": "Add.", "input": "1 2", "chosen": "3", "rejected": "4"}
    assert detect([row(pair)], {}) == "preference"
    example = parse(row(pair), "preference", {})
    assert (example.question, example.right, example.wrong) == ("Add.\n\n1 2", ("3",), ("4",))


def test_the_last_assistant_turn_of_a_conversation_is_the_answer() -> None:
    turns = [{"from": "system", "value": "s"}, {"from": "human", "value": "q1"}, {"from": "gpt", "value": "a1"}]
    turns += [{"from": "human", "value": "q2"}, {"from": "gpt", "value": "a2"}]
    example = parse(row({"conversations": turns}), "conversations", {})
    assert [turn["role"] for turn in example.turns] == ["system", "user", "assistant", "user"]
    assert (example.question, example.solution) == ("q1\na1\nq2", "a2")
    assert parse(row({"messages": TURNS[:1]}), "messages", {}).solution is None


def test_preferences_as_turns_share_their_prompt() -> None:
    rejected = [TURNS[0], {"role": "assistant", "content": "b"}]
    for values in ({"chosen": TURNS, "rejected": rejected}, {"prompt": "q", "chosen": TURNS[1:], "rejected": rejected}):
        example = parse(row(values), "preference", {})
        assert (example.question, example.right, example.wrong) == ("q", ("a",), ("b",))


def test_a_false_label_is_a_wrong_completion() -> None:
    example = parse(row({"prompt": "q", "completion": "a", "label": False}), "labelled", {})
    assert (example.right, example.wrong, example.solution) == ((), ("a",), None)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("question_answer", {"question": "q"}, "expected text in column answer; the columns are question"),
        ("question_answer", {"question": " ", "answer": "a"}, "expected text in column question; found ' '"),
        ("question_answer", {"question": "q", "answer": None}, "expected text in column answer; found None"),
        ("gsm8k", {"question": "q", "answer": "just 4"}, 'a line "#### 72", found "…just 4".*question_answer'),
        ("messages", {"messages": "hello"}, "column messages expects a list of turns .*found 'hello'"),
        ("messages", {"messages": []}, "column messages is an empty list"),
        ("messages", {"messages": [{"role": "tool", "content": "x"}]}, "roles system, user, .*found {'role': 'tool'"),
        ("messages", {"messages": TURNS[1:]}, "a user turn is expected"),
        ("labelled", {"prompt": "q", "completion": "a", "label": "yes"}, "label expects true or false .*found 'yes'"),
        ("preference", {"chosen": "a", "rejected": "b"}, "a column with the question is needed"),
        ("preference", {"prompt": "other", "chosen": TURNS, "rejected": "b"}, "chosen expects one assistant turn"),
        ("gsm8k_solutions", {**SOLUTIONS, MODELS[1]: {"is_correct": 1}}, f"column {MODELS[1]} expects"),
    ],
)
def test_malformed_rows_name_the_line_and_what_was_expected(name: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        parse(row(values), name, {})
    assert str(error.value).startswith("f.jsonl line 3: ")


def test_a_prompt_may_be_a_list_of_turns() -> None:
    example = parse(row({"prompt": TURNS[:1], "completion": TURNS[1:]}), "prompt_completion", {})
    assert (example.question, example.solution) == ("q", "a")
    with pytest.raises(UserError, match="in column prompt a user turn is expected"):
        parse(row({"prompt": TURNS, "completion": "a"}), "prompt_completion", {})

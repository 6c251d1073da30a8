"""Questions that are only asked: a file alone, all rows of a file, a dataset, and formats of other projects."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlft.base import UserError
from rlft.data import Offline, Online, Pairs, Recorded

Write = Callable[[str, list[Any]], str]
SVAMP = [
    {
        "ID": f"chal-{n}",
        "Body": f"Ann has {n} pens.",
        "Question": "How many has she?",
        "Equation": "n",
        "Answer": n + 0.0,
    }
    for n in range(1, 5)
]


def held_out(source: Any, context: Any) -> dict[str, Any]:
    """Question → query of what a source keeps for evaluation when nothing is to be trained."""
    source.bind(replace(context(), training=False))
    return {query.messages[-1]["content"]: query for query in source.held_out()}


@pytest.mark.parametrize("kind", [Recorded, Online, Offline, Pairs])
def test_a_file_of_questions_stands_alone(kind: Any, gsm8k: str, context: Any, said: list[str]) -> None:
    source = kind(eval_file=gsm8k)
    asked = held_out(source, context)
    assert len(asked) == 200 and source.asks == "gsm8k.jsonl" and "dropped" not in " ".join(said)
    with pytest.raises(UserError, match="none is given"):
        kind(eval_file=gsm8k).bind(context())
    assert "levels" in source.offers, "what draws nothing to train on is refused no curriculum"
    assert "levels" not in kind(train_file=gsm8k).offers and "levels" in kind(task="chain_sum", task_levels=2).offers


def test_all_rows_can_be_held_out(gsm8k: str, context: Any) -> None:
    source = Online(train_file=gsm8k, held_out_share=1.0)
    assert len(held_out(source, context)) == 200 and source.asks == "gsm8k.jsonl"


def test_body_question_and_answer_by_a_mapping(write: Write, context: Any) -> None:
    file = write("svamp.jsonl", SVAMP)
    with pytest.raises(UserError, match=r"data\.columns='\{question: Body\+Question, answer: Answer\}'"):
        held_out(Online(eval_file=file), context)
    asked = held_out(Online(eval_file=file, columns={"question": "Body+Question", "answer": "Answer"}), context)
    assert asked["Ann has 3 pens. How many has she?"].answer == "3.0" and len(asked) == 4
    with pytest.raises(UserError, match=r"maps question to Qestion, .*Did you mean Question\?"):
        held_out(Online(eval_file=file, columns={"question": "Body+Qestion", "answer": "Answer"}), context)


def test_a_format_typed_holds_for_a_file_that_stands_alone(write: Write, context: Any) -> None:
    file = write("q.jsonl", [{"question": "Which?", "choices": ["4", "5"], "answer": "5"}])
    (query,) = held_out(Online(eval_file=file), context).values()
    assert query.answer == "B"
    (query,) = held_out(Online(eval_file=file, format="question_answer"), context).values()
    assert query.answer == "5" and query.messages[-1]["content"] == "Which?"


def test_a_dataset_in_a_folder(write: Write, tmp_path: Path, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As hub datasets come: by split, MMLU's columns."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mmlu").mkdir()
    rows = [{"question": f"{n}?", "subject": "s", "choices": ["w", "x", "y", "z"], "answer": n} for n in range(4)]
    write("mmlu/test.jsonl", rows)
    source = Online(hub_id=str(tmp_path / "mmlu"), hub_split="test", held_out_share=1.0)
    asked = held_out(source, context)
    assert {question[0]: query.answer for question, query in asked.items()} == dict(zip("0123", "ABCD", strict=True))


def test_solutions_in_latex(write: Write, context: Any) -> None:
    """MATH's columns: the answer stands in the solution, boxed."""
    from rlft.base import Completion, Group
    from rlft.rewards import Verifier

    solution = "We have $x^2 = 2$, so \\[x = \\boxed{\\sqrt{2}}.\\]"
    rows = [{"problem": "Solve $x^2 = 2$, $x > 0$.", "level": "Level 1", "type": "Algebra", "solution": solution}]
    (query,) = held_out(Online(eval_file=write("math.jsonl", rows)), context).values()
    texts = (
        "\\boxed{\\sqrt{2}}",
        "so $\\boxed{2^{1/2}}$",
        "\\boxed{\\frac{2}{\\sqrt{2}}}",
        "\\boxed{\\sqrt{3}}",
        "1.41",
    )
    verifier = Verifier(timeout=60)
    try:
        (group,) = verifier.score([Group(query, tuple(Completion((1,), text) for text in texts))])
    finally:
        verifier.close()
    assert [reward.value for reward in group.rewards] == [1, 1, 1, 0, 0]

"""What is kept of an answer to a held-out question."""

from rlft.base import Completion, Group, Query
from rlft.evaluation.accuracy import Answer, verify
from rlft.evaluation.sampled import record
from rlft.rewards import MathAnswer


def test_an_answer_says_what_the_model_read_before_the_question_too() -> None:
    turns = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"})
    group = Group(Query("q", turns, "4"), (Completion((7, 2), "4"), Completion((8,), "5", finished=False)))
    (answers,) = verify([group], MathAnswer())
    assert answers == [
        Answer("q", "2 + 2?", "4", "4", "4", True, True, 2, [turns[0]]),
        Answer("q", "2 + 2?", "5", "4", "5", False, False, 1, [turns[0]]),
    ]
    written = record(answers)
    assert written["earlier"] == [turns[0]] and "earlier" not in written["answers"][0]

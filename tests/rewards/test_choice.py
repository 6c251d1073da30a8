"""The option a text chooses, and the verifier that suits each kind of question."""

from typing import Any

import pytest

from rlft.base import Completion, Group, Query, UserError
from rlft.rewards import MathAnswer, MultipleChoice, Verifier
from rlft.rewards.choice import chosen

CITIES = ["Oslo", "Rome", "New York", "York"]


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(B)", "B"),
        (" **B.** ", "B"),
        ("B. Rome", "B"),
        ("B) because Oslo is not", "B"),
        ("Rome", "B"),
        ("rome.", "B"),
        ("I think it is Rome", "B"),
        ("New York", "C"),
        ("I think it is New York", "C"),  # the longer of two that are there
        ("York", "D"),
        ("The answer is B", "B"),
        ("The answer is B because Oslo (A) is in Norway.", "B"),
        ("The answer is **B**.", "B"),
        ("Answer: B", "B"),
        ("Answer:\nB", "B"),
        ("The correct answer is option (B).", "B"),
        ("the answer is Rome, not Oslo", "B"),
        ("First I take A. The answer is A. No, the answer is B.", "B"),
        ("Option B is right.", "B"),
        ("Not (A) but (B)", "B"),
        ("Oslo or Rome? I say B.", "B"),
        ("<answer>B</answer>", "B"),
        ("A? No: <answer>Rome</answer>", "B"),
        ("A is wrong. \\boxed{B}", "B"),
        ("\\boxed{\\text{Rome}}", "B"),
        ("It could be A.\n#### B", "B"),
        ("Z", None),
        ("The answer is Z.", None),
        ("Oslo or Rome", None),
        ("A man walks into a bar", None),
        ("the answer is a city", None),
        ("Romeo", None),
        ("I am not sure, E.", None),
        ("", None),
    ],
)
def test_the_option_a_text_chooses(text: str, letter: str | None) -> None:
    assert chosen(text, CITIES) == letter


def test_options_that_are_numbers_are_compared_by_value() -> None:
    assert chosen("72.0", ["70", "72", "74"]) == "B"
    assert chosen("\\boxed{\\frac{1}{2}}", ["0.25", "1/2"]) == "B"
    assert chosen("It is 7.", ["70", "7"]) == "B"


def query(answer: str, **metadata: Any) -> Query:
    return Query("id", ({"role": "user", "content": "q"},), answer, metadata)


def score(reward: Any, asked: Query, *texts: str) -> list[Any]:
    (group,) = reward.score([Group(asked, tuple(Completion((1,), text) for text in texts))])
    return list(group.rewards)


def test_the_reward_is_1_for_the_right_letter() -> None:
    rewards = score(MultipleChoice(), query("B", choices=CITIES), "B", "Rome", "A", "who knows")
    assert [reward.value for reward in rewards] == [1, 1, 0, 0]
    assert [reward.extracted for reward in rewards] == ["B", "B", "A", None]
    assert rewards[0].parts == {"multiple_choice": 1.0}


def test_rewards_for_other_questions_are_refused_with_what_to_type() -> None:
    with pytest.raises(UserError, match=r"reward=multiple_choice: query id has no options; .*choices"):
        score(MultipleChoice(), query("B"), "B")
    with pytest.raises(UserError, match=r"multiple choice; type reward=multiple_choice"):
        score(MathAnswer(), query("B", choices=CITIES), "B")


def test_the_verifier_judges_as_the_question_wants() -> None:
    verifier = Verifier()
    choice = score(verifier, query("B", choices=CITIES), "Rome", "72")
    number = score(verifier, query("72"), "It is 72.0", "B", "70")
    item = query("8", task="chain_sum", entry={"answer": "8"})
    words = score(verifier, item, "It is 8", "It is 9")
    assert [[reward.value for reward in rewards] for rewards in (choice, number, words)] == [[1, 0], [1, 0, 0], [1, 0]]
    assert choice[0].parts == number[0].parts == {"verifier": 1.0} and number[0].extracted == "72.0"
    assert verifier.math.worker._process is None and verifier.task.worker._process is None, "numbers need no process"
    verifier.close()


def test_the_verifier_asks_the_task_where_its_answer_is_no_number() -> None:
    from rlft.data.tasks import generate

    (example, *_) = generate("spell_backward", {"min_word_len": 5, "max_word_len": 5}, 1)
    verifier = Verifier()
    try:
        asked = query(str(example.answer), **example.metadata)
        right, wrong = score(verifier, asked, str(example.answer), "nothing")
    finally:
        verifier.close()
    assert (right.value, wrong.value) == (1.0, 0.0) and right.extracted == example.answer

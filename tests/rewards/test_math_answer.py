"""Right and wrong final answers."""

import pytest

from rlft.base import Group, UserError
from rlft.rewards import MathAnswer, ReasoningGym
from tests.rewards.conftest import group

GSM8K = "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nIn all 48+24 = <<48+24=72>>72.\n#### 72"

CASES = [
    ("72", "The answer is 72.", 1.0),
    ("72", "The answer is 71.", 0.0),
    ("72", "no idea", 0.0),
    ("72", "", 0.0),
    (GSM8K, "#### 72", 1.0),
    (GSM8K, "#### 48", 0.0),
    ("72", "first 70, then <answer>72</answer>", 1.0),
    ("70", "first 70, then <answer>72</answer>", 0.0),
    ("1,000", "1000.00", 1.0),
    ("1000", "$1,000", 1.0),
    ("-5", "\u22125", 1.0),
    ("5", "-5", 0.0),
    ("0.5", "\\boxed{\\frac{1}{2}}", 1.0),
    ("1/3", "0.333", 0.0),
    ("10", "1,0", 0.0),
    ("yes", "<answer>Yes.</answer>", 1.0),
    ("yes", "Yes", 1.0),
    ("Paris", "There are 2 of them, and the answer is Paris.", 1.0),
    ("Paris", "The answer is London.", 0.0),
    ("Paris", "<answer>Rome</answer> The answer is Paris.", 0.0),
    ("yes", "", 0.0),
    ("(1, 2)", "The answer is (1, 2).", 1.0),
    ("(1, 2)", "\\boxed{(1,2)}", 1.0),
    ("18", "<answer>72 apples</answer>", 0.0),
]


def rewards(reward: MathAnswer, *groups: Group) -> list[float]:
    try:
        return [r.value for g in reward.score(list(groups)) for r in g.rewards]
    finally:
        reward.close()


@pytest.mark.parametrize(("gold", "text", "value"), CASES)
def test_plain_answers_need_no_worker(gold: str, text: str, value: float) -> None:
    reward = MathAnswer()
    scored = reward.score([group(text, answer=gold)])[0].rewards[0]
    assert scored.value == value and scored.parts == {"math_answer": value} and scored.error is None
    assert reward.worker._process is None


def test_latex_is_compared_by_meaning_with_the_gold_first() -> None:
    cases = [
        ("x^2+2x+1", "\\boxed{(x+1)^2}", 1.0),
        ("x^2+2x+1", "\\boxed{(x+2)^2}", 0.0),
        ("2", "\\boxed{\\sqrt{4}}", 1.0),
        ("\\sqrt{8}", "\\boxed{2\\sqrt{2}}", 1.0),
        ("\\sqrt{8}", "the last number is 2", 0.0),
        ("\\frac{\\pi}{2}", "\\boxed{\\dfrac{\\pi}{2}}", 1.0),
    ]
    groups = [group(text, answer=gold) for gold, text, _ in cases]
    assert rewards(MathAnswer(timeout=60.0), *groups) == [value for *_, value in cases]


def test_a_query_without_an_answer_is_refused() -> None:
    with pytest.raises(UserError, match="query q has no reference answer"):
        MathAnswer().score([group("5")])


def test_a_time_limit_must_be_positive() -> None:
    with pytest.raises(UserError, match=r"reward\.timeout=0"):
        MathAnswer(timeout=0.0)


def test_the_task_s_own_scorer_decides_after_extraction() -> None:
    entry = {"question": "2 + 3 = ?", "answer": "5", "metadata": {}}
    reward = ReasoningGym(timeout=60.0)
    texts = ["The answer is 5", "5.0", "first 4, <answer>5</answer>", "6", "15", "none"]
    try:
        scored = reward.score([group(*texts, task="chain_sum", entry=entry)])[0].rewards
        unknown = reward.score([group("5", task="no_such_task", entry=entry)])[0].rewards[0]
    finally:
        reward.close()
    assert [r.value for r in scored] == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    assert [r.extracted for r in scored] == ["5", "5.0", "5", "6", "15", None]
    assert scored[0].parts == {"reasoning_gym": 1.0, "score": 1.0}
    assert scored[4].parts["score"] == pytest.approx(0.5)  # "5" is half of "15": why there is a threshold
    assert unknown.value == 0.0 and unknown.error is not None and "no_such_task" in unknown.error


def test_a_lower_threshold_counts_partial_scores_and_words_are_answers_too() -> None:
    number = {"question": "?", "answer": "5", "metadata": {}}
    word = {"question": "?", "answer": "blue", "metadata": {}}
    reward = ReasoningGym(threshold=0.5, timeout=60.0)
    try:
        groups = [group("15", task="chain_sum", entry=number), group("blue", "bl", task="chain_sum", entry=word)]
        assert [[r.value for r in g.rewards] for g in reward.score(groups)] == [[1.0], [1.0, 0.0]]
    finally:
        reward.close()


def test_a_query_that_is_no_item_is_refused() -> None:
    with pytest.raises(UserError, match="not from a reasoning-gym task"):
        ReasoningGym().score([group("5", answer="5")])


@pytest.mark.parametrize("threshold", [0.0, 1.5])
def test_a_threshold_is_a_score(threshold: float) -> None:
    with pytest.raises(UserError, match=r"reward\.threshold"):
        ReasoningGym(threshold=threshold)

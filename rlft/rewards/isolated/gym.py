"""A reasoning-gym task's own scorer."""

from typing import Any

from reasoning_gym import get_score_answer_fn

scorers: dict[str, Any] = {}


def score(task: str, answer: str | None, entry: dict[str, Any]) -> float:
    """Returns the task's score of an answer, from 0 to 1; `entry` is the item that the task generated."""
    if task not in scorers:
        scorers[task] = get_score_answer_fn(task)
    return scorers[task](answer, entry)

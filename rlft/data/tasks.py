"""Questions of reasoning-gym's procedural tasks: seeded, with difficulty settings, without a network."""

from dataclasses import fields
from typing import Any

from rlft.base import UserError, question_id
from rlft.data.errors import did_you_mean
from rlft.data.examples import Example

RESERVED = {"size": "data.task_size"}


def generate(task: str, settings: dict[str, Any], size: int) -> list[Example]:
    """Returns the distinct questions among `size` generated entries of a reasoning-gym task.

    The task's seed is 0 unless `settings` has one: the questions, and so the held-out ones, are the same for every seed
    of a run.

    Args:
        task: a reasoning-gym dataset, e.g. "chain_sum".
        settings: fields of the task's configuration, e.g. {"min_terms": 2, "max_terms": 2}.
        size: entries to generate.

    Raises:
        UserError: for an unknown task or setting, or a value that the task refuses.
    """
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ImportError as error:
        raise UserError("data.task needs reasoning-gym: pip install 'rlft[math]'") from error
    if task not in DATASETS:
        raise UserError(
            f"data.task={task}: reasoning-gym has no such task.{did_you_mean(task, DATASETS)} "
            f"It has {len(DATASETS)}, among them basic_arithmetic, chain_sum, gcd and simple_equations."
        )
    known = [f.name for f in fields(DATASETS[task][1]) if f.name not in RESERVED]
    for key in settings:
        if key not in known:
            hint = f" Type {RESERVED[key]}= instead." if key in RESERVED else did_you_mean(key, known)
            raise UserError(f"data.task_settings.{key}: {task} has {', '.join(known)}.{hint}")
    try:
        entries = reasoning_gym.create_dataset(task, **{"seed": 0, **settings, "size": size})
        found = [_example(task, number, entries[number]) for number in range(size)]
    except (AssertionError, ValueError, TypeError, IndexError, KeyError) as error:
        given = ", ".join(f"{key}: {value}" for key, value in settings.items())
        reason = str(error) or type(error).__name__
        raise UserError(f"data.task={task} refuses data.task_settings={{{given}}}: {reason}") from error
    distinct: dict[str, Example] = {}
    for example in found:
        distinct.setdefault(question_id(example.question), example)
    return list(distinct.values())


def _example(task: str, number: int, entry: dict[str, Any]) -> Example:
    answer = None if entry["answer"] is None else str(entry["answer"])
    return Example(
        where=f"{task} entry {number}",
        number=number,
        turns=({"role": "user", "content": str(entry["question"])},),
        answer=answer,
        solution=answer,
        metadata={"task": task, "entry": entry},
    )

"""Questions of reasoning-gym's procedural tasks: seeded, with difficulty settings, without a network."""

from dataclasses import fields
from typing import Any

from rlft.base import UserError, question_id
from rlft.data.errors import did_you_mean
from rlft.data.examples import Example

RESERVED = {"size": "data.task_size"}


def generate(task: str, settings: dict[str, Any], size: int, levels: int = 1) -> list[Example]:
    """Returns the distinct questions among `size` generated entries of a reasoning-gym task.

    The task's seed is 0 unless `settings` has one: the questions, and so the held-out ones, are the same for every seed
    of a run.

    Args:
        task: a reasoning-gym dataset, e.g. "chain_sum".
        settings: fields of the task's configuration, e.g. {"min_terms": 2, "max_terms": 2}.
        size: entries to generate.
        levels: of the task's own curriculum, over which they are spread evenly; an example's metadata has its "level",
            0 the easiest. What `settings` say holds at every level.

    Raises:
        UserError: for an unknown task or setting, or a value that the task refuses.
    """
    try:
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
    found: list[Example] = []
    for level in range(levels):
        mark = {"level": level} if levels > 1 else {}
        share = max(1, (size + levels - 1 - level) // levels)
        found += _entries(task, {**_at_level(task, level, levels), **settings}, share, mark)
    distinct: dict[str, Example] = {}
    for example in found:
        distinct.setdefault(question_id(example.question), example)
    return list(distinct.values())


def _entries(task: str, settings: dict[str, Any], size: int, mark: dict[str, int]) -> list[Example]:
    import reasoning_gym

    try:
        entries = reasoning_gym.create_dataset(task, **{"seed": 0, **settings, "size": size})
        return [_example(task, number, entries[number], mark) for number in range(size)]
    except (AssertionError, ValueError, TypeError, IndexError, KeyError) as error:
        given = ", ".join(f"{key}: {value}" for key, value in settings.items())
        reason = str(error) or type(error).__name__
        raise UserError(f"data.task={task} refuses data.task_settings={{{given}}}: {reason}") from error


def _at_level(task: str, level: int, levels: int) -> dict[str, Any]:
    """Returns what the task's own curriculum sets at a level, and not at those below it; nothing where one is enough.

    Raises:
        UserError: the task has no curriculum, or not so many levels.
    """
    from reasoning_gym.coaching.base_curriculum import DefaultCurriculumContext, RangeAttributeMode
    from reasoning_gym.factory import create_curriculum, has_curriculum

    if levels == 1:
        return {}
    if not has_curriculum(task):
        raise UserError(f"data.task_levels={levels}: {task} has no levels of its own; type data.task_levels=1")
    curriculum = create_curriculum(task)
    most = max((len(attribute.levels) for attribute in curriculum.attributes.values()), default=1)
    if levels > most:
        raise UserError(f"data.task_levels={levels}: {task} has {most} levels")
    curriculum.set_global_level(level)
    own = curriculum.generate_configuration(context=DefaultCurriculumContext(mode=RangeAttributeMode.UPPER_BOUND))
    return {f.name: getattr(own, f.name) for f in fields(own) if f.init and f.name not in ("seed", "size")}


def _example(task: str, number: int, entry: dict[str, Any], mark: dict[str, int]) -> Example:
    answer = None if entry["answer"] is None else str(entry["answer"])
    return Example(
        where=f"{task} entry {number}",
        number=number,
        turns=({"role": "user", "content": str(entry["question"])},),
        answer=answer,
        solution=answer,
        metadata={"task": task, "entry": entry, **mark},
    )

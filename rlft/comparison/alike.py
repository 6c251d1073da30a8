"""Whether recipes may be compared at all, before any of them runs."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rlft.base import Query
from rlft.base.nested import flat

MODEL = ("model.path", "model.hub_id", "model.revision", "model.dtype", "model.chat_template")
ASKED = ("data.prompt", "data.system", "data.max_prompt_tokens", "trainer.eval_size")
DECODED = ("data.max_completion_tokens", "trainer.eval_long_tokens")
BUDGET = ("budget",)
JUDGE = "what judges answers, trainer.verifier or the reward"
HELD_OUT = (
    "data.eval_file", "data.evaluate_on", "data.held_out_share", "data.validation_share", "data.question_pattern",
    "data.task", "data.task_settings", "data.task_size", "data.task_levels", "data.train_file", "data.hub_id",
    "data.hub_config", "data.hub_split", "data.format", "data.columns",
)  # fmt: skip
"""Which questions are held out, of what; recipes of one data may well differ in these and hold out the same."""


def unlike(configs: dict[str, dict[str, Any]], held_out: Callable[[str], list[Query] | None]) -> list[str]:
    """Returns a sentence for everything that recipes must share and do not: base model, chat template, questions,
    decoding limits, budget, what judges answers. Differences of accuracy would be owed to those as well as to the
    method.

    Args:
        configs: composed recipes by their names, at least one.
        held_out: returns the questions of a recipe by its name, None where they cannot be known before it runs. It is
            called where settings differ that decide them and nothing else does.
    """
    found = _apart(configs, (*MODEL, *ASKED, *DECODED, *BUDGET))
    judges = {name: judge(flat(config)) for name, config in configs.items()}
    found += differing("recipes", JUDGE, judges, list(judges.values()))
    settings = _apart(configs, HELD_OUT)
    return found if settings and not found and _same(map(held_out, configs)) else found + settings


def _apart(configs: dict[str, dict[str, Any]], keys: Iterable[str]) -> list[str]:
    return [
        sentence
        for key in keys
        for sentence in differing("recipes", key, configs, [_value(config, key) for config in configs.values()])
    ]


def differing(
    who: str, what: str, names: Iterable[str], values: Sequence[Any], shown: Sequence[Any] | None = None
) -> list[str]:
    """Returns the sentence that recipes or runs differ in something, with each one's value, or none if they do not.

    Args:
        who: "recipes" or "runs". what: the thing. names: theirs. values: what is compared.
        shown: what people see in the place of the values.
    """
    if all(value == values[0] for value in values):
        return []
    each = ", ".join(f"{name}: {value}" for name, value in zip(names, shown or values, strict=True))
    return [f"the {who} differ in {what} ({each})"]


def _same(asked: Iterable[list[Query] | None]) -> bool:
    """Whether questions are known, and the same with the same reference answers."""
    known = [
        None if queries is None else [(q.id, q.messages, q.answer) for q in queries if q.answer is not None]
        for queries in asked
    ]
    return None not in known and all(each == known[0] for each in known)


def judge(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of what judges answers, the verifier or the reward where there is none, of a recipe with
    dotted keys."""
    node = "trainer.verifier." if "trainer.verifier._target_" in config else "reward."
    return {key.removeprefix(node): value for key, value in config.items() if key.startswith(node)}


def _value(config: dict[str, Any], key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value

"""Whether recipes may be compared at all, before any of them runs."""

from typing import Any

from rlft.base.nested import flat

MODEL = ("model.path", "model.hub_id", "model.revision", "model.chat_template")
ASKED = (
    "data.eval_file", "data.evaluate_on", "data.validation_share", "data.prompt", "data.system", "trainer.eval_size",
)  # fmt: skip
DRAWN = (
    "data.task", "data.task_settings", "data.train_file", "data.hub_id", "data.hub_config", "data.hub_split",
    "data.question_pattern", "data.held_out_share",
)  # fmt: skip
"""Where held-out questions come from if there is no file of them."""
DECODED = ("data.max_completion_tokens", "trainer.eval_long_tokens")
BUDGET = ("budget",)


def unlike(configs: dict[str, dict[str, Any]]) -> list[str]:
    """Returns a sentence for everything that recipes must share and do not: base model, chat template, questions,
    decoding limits, budget. Differences of accuracy would be owed to those as well as to the method.

    Args:
        configs: composed recipes by their names, at least one.
    """
    keys = [*MODEL, *ASKED, *DECODED, *BUDGET]
    if not all(_value(config, "data.eval_file") for config in configs.values()):
        keys += DRAWN
    found: list[str] = []
    for key in keys:
        values = {name: _value(config, key) for name, config in configs.items()}
        if any(value != next(iter(values.values())) for value in values.values()):
            each = ", ".join(f"{name}: {value}" for name, value in values.items())
            found.append(f"the recipes differ in {key} ({each})")
    judges = {name: judge(flat(config)) for name, config in configs.items()}
    if any(settings != next(iter(judges.values())) for settings in judges.values()):
        each = ", ".join(f"{name}: {settings}" for name, settings in judges.items())
        found.append(f"the recipes differ in what judges answers, trainer.verifier or the reward ({each})")
    return found


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

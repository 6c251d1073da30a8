"""Which questions `rlft eval RUN_DIR` asks, and what the files of others than the run's own are called."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ORIGINS = ("task", "train_file", "hub_id")
PLACE = (*ORIGINS, "hub_config", "hub_split")
DECIDING = ("data.", "reward.", "trainer.verifier", "model.")
"""What decides an answer and whether it is right, but for how many are asked and how further ones are drawn."""


def words_before(words: list[str], config: dict[str, Any]) -> list[str]:
    """Returns what goes before the words typed for a run, so that a set of questions which they name is asked itself,
    and all of it: the run holds out a share of what it was trained on, and may have a file of its own.

    Args:
        words: as typed. config: the run's frozen recipe.
    """
    from rlft.recipe.overrides import changed

    data, typed = (_resolved(each["data"]) for each in (config, changed(config, words)))
    named = {key for key in PLACE if typed.get(key) != data.get(key) and typed.get(key) is not None}
    aside: dict[str, Any] = {"evaluate_on": "held_out", "validation_share": 0}
    if typed.get("eval_file") != data.get("eval_file") and typed.get("eval_file") is not None:
        aside |= dict.fromkeys(ORIGINS)
    elif named:
        others = [key for key in ORIGINS if key not in named] if named.intersection(ORIGINS) else []
        aside |= {"held_out_share": 1, **dict.fromkeys(("eval_file", "question_pattern", *others))}
        if "task" in named:  # the settings and levels were the other task's
            aside |= {"task_settings": {}, "task_levels": 1}
    else:
        return []
    return [f"data.{key}={'null' if aside[key] is None else aside[key]}" for key in aside if key in data]


def suffix(words: Sequence[str], config: dict[str, Any], asks: str) -> str:
    """Returns what the names of a run's files end in: nothing for its own questions, put and judged as it has them;
    else the name of the questions, and a hash of the values that the words change.

    Args:
        words: as typed. config: the run's frozen recipe. asks: the questions' name.
    """
    from rlft.base.nested import flat
    from rlft.recipe.overrides import changed

    before, after = (_resolved(flat(each)) for each in (config, changed(config, list(words))))
    unlike = {k: value for k, value in after.items() if k.startswith(DECIDING) and value != before.get(k)}
    if not unlike:
        return ""
    digest = hashlib.sha256(json.dumps(unlike, sort_keys=True).encode()).hexdigest()[:8]
    return f"_{Path(asks).stem}-{digest}"


def _resolved(values: dict[str, Any]) -> dict[str, Any]:
    """Returns values with files by their whole paths: one may be typed in several ways, and two in one."""
    return {
        key: str(Path(value).expanduser().resolve()) if key.endswith("_file") and value else value
        for key, value in values.items()
    }

"""EleutherAI's lm-evaluation-harness on a plan's model, or on it with an adapter (extra `lm_eval`)."""

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from accelerate import Accelerator

from rlft.base import RunError, UserError
from rlft.evaluation.harness import Score, scores
from rlft.models.adapter import has_adapter, merged
from rlft.models.load import Loaded, load
from rlft.train import run_dir
from rlft.train.plan import Plan

ROWS = 16
"""Requests that go through the model together."""


def require_harness() -> None:
    """Raises UserError, with what to type, if lm_eval is not installed."""
    if find_spec("lm_eval") is None:
        raise UserError("--harness needs the package lm_eval: pip install 'rlft[lm_eval]'")


def run_harness(
    plan: Plan,
    tasks: list[str],
    name: str = "base",
    adapter: str | None = None,
    limit: int | None = None,
    trust_remote_code: bool = False,
    say: Callable[[str], None] = print,
) -> list[Score]:
    """Returns the metrics of the harness's tasks. Writes its results to harness_NAME.json in the run directory, and
    every answer to harness_NAME_samples.jsonl.

    The model is asked through its chat template, if it has one. The plan's data and completion limit play no part: a
    task brings its own.

    Args:
        plan: the recipe as objects.
        tasks: names of the harness's tasks, or YAML files of one's own.
        name: of the files.
        adapter: a folder in PEFT format; None measures the plan's model as it is.
        limit: questions per task, at most.
        trust_remote_code: let the model's repository run its own code.
        say: prints one line for the user.

    Raises:
        UserError: lm_eval is not installed, or whatever is wrong with the model.
        RunError: the harness failed.
    """
    require_harness()
    config = replace(plan.model, adapter_path=adapter) if adapter else plan.model
    device = Accelerator(cpu=plan.trainer.device == "cpu").device
    loaded = load(config, plan.seed, device, say, trust_remote_code)
    with merged(loaded.model):
        results = _evaluate(loaded, tasks, limit, plan.seed)
    samples = results.pop("samples", {})
    lines = [_json({"task": task, **sample}) for task, rows in samples.items() for sample in rows]
    run_dir.write_text(plan.run_dir / f"harness_{name}_samples.jsonl", "".join(f"{line}\n" for line in lines))
    run_dir.write_text(plan.run_dir / f"harness_{name}.json", _json(results, indent=2) + "\n")
    return scores(results)


def _evaluate(loaded: Loaded, tasks: list[str], limit: int | None, seed: int) -> dict[str, Any]:
    from lm_eval import simple_evaluate  # pyright: ignore[reportMissingImports]
    from lm_eval.models.huggingface import HFLM  # pyright: ignore[reportMissingImports]

    model = loaded.model.get_base_model() if has_adapter(loaded.model) else loaded.model
    try:
        results = simple_evaluate(
            model=HFLM(pretrained=model, tokenizer=loaded.chat.tokenizer, batch_size=ROWS),
            tasks=list(tasks),
            limit=limit,
            apply_chat_template=loaded.chat.templated,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
        )
    except Exception as error:  # of whatever kind: tasks are code, and fetch their data
        reason = next(iter(str(error).strip().splitlines()), "")
        raise RunError(f"lm_eval could not run {', '.join(tasks)}: {type(error).__name__}: {reason}") from error
    assert results is not None  # None is what other processes than the first get
    return dict(results)


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    """Returns what JSON has no word for: numpy's numbers and arrays as plain ones, all else as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)

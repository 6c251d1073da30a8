"""Whole runs of the tiny model: a recipe shortened to fractions of a second a step, and what it left behind."""

import io
import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

from rlft.recipe import build, compose
from rlft.train import Plan, checkpoint, train

# Random weights answer nothing right: what a format is worth varies from text to text instead.
REWARD = ["reward=format", "reward.match=search", "reward.pattern=u", "reward.cut_off=train"]
SHORT = [
    "model=hub", "model.dtype=float32", "model.rank=2", "trainer.device=cpu", "trainer.tokens_per_micro_batch=256",
    "trainer.prompts_per_step=3", "trainer.learning_rate=3e-3", "trainer.eval_size=3", "trainer.eval_long_tokens=6",
    "data.task_size=120", "data.held_out_share=0.2", "data.max_completion_tokens=4", "trainer.sample_every=0",
]  # fmt: skip
MANY = ["data.samples_per_prompt=3"]
PASSES = ["trainer.epochs=2", "trainer.mini_batches=2"]
RECIPES = {
    "grpo": ["recipe=grpo_math", *REWARD, *MANY, *PASSES],
    "ppo": ["recipe=ppo_math", *REWARD, *MANY, *PASSES, "model.dropout=0.1"],
    "rft": ["recipe=rft_math", *REWARD, *MANY, "data.pool=8", "trainer.schedule=cosine", "trainer.warmup_steps=1"],
    "dpo": ["recipe=dpo_math", *REWARD, *MANY, "data.pool=8", "trainer.epochs=2"],
    "reward_model": ["recipe=reward_model_math", *REWARD, *MANY, "data.pool=8"],
    "token_scores": ["recipe=reward_model_math", *REWARD, *MANY, "data.pool=8", "algorithm.averaged=true"],
    "distill": ["recipe=distill_math", *REWARD, *MANY, *PASSES, "algorithm.off_policy=true"],
    "sft": ["recipe=sft_math"],
}


def make_plan(model: Path, run_dir: Path, method: str, *changes: str) -> Plan:
    """Returns the plan of a short run; `changes` are overrides that go last."""
    words = [*RECIPES[method], *SHORT, f"model.path={model}", *changes]
    return build(compose(words).config, run_dir)


def run(plan: Plan, resume: bool = False) -> dict[str, Any]:
    """Trains and returns the summary; what is said goes nowhere."""
    return train(plan, resume=resume, console=Console(file=io.StringIO()))


def said(plan: Plan, resume: bool = False) -> str:
    """Trains and returns what was said."""
    text = io.StringIO()
    train(plan, resume=resume, console=Console(file=text, width=400))
    return text.getvalue()


def lines(file: Path) -> list[dict[str, Any]]:
    """Returns the records of a jsonl file."""
    return [json.loads(text) for text in file.read_text(encoding="utf-8").split("\n") if text]


def samples(run_dir: Path) -> list[dict[str, Any]]:
    """Returns samples.jsonl."""
    return lines(run_dir / "samples.jsonl")


def adapter(run_dir: Path) -> dict[str, Tensor]:
    """Returns the exported adapter's tensors."""
    return load_file(run_dir / "adapter" / "adapter_model.safetensors")


def state(run_dir: Path) -> dict[str, Any]:
    """Returns the newest checkpoint, flat: weights, optimisers, scheduler, generators, source position; less the
    seconds, which no two runs share."""
    newest = checkpoint.latest(run_dir)
    assert newest is not None
    flat = dict(_flat(checkpoint.read(newest), ""))
    return {key: value for key, value in flat.items() if key != "/bill/seconds"}


def assert_equal(actual: dict[str, Any], expected: dict[str, Any]) -> None:
    """Asserts that two mappings hold the same, tensors bit by bit."""
    assert actual.keys() == expected.keys()
    for key, value in expected.items():
        same = torch.equal(actual[key], value) if isinstance(value, Tensor) else actual[key] == value
        assert same, f"{key} differs"


def assert_same_run(one: Path, other: Path) -> None:
    """Asserts that two runs came to the same: adapter, checkpoint, samples, metrics and held-out answers."""
    assert_equal(adapter(one), adapter(other))
    assert_equal(state(one), state(other))
    assert samples(one) == samples(other)
    assert _metrics(one) == _metrics(other)
    assert lines(one / "eval_after.jsonl") == lines(other / "eval_after.jsonl")


def _metrics(run_dir: Path) -> list[dict[str, Any]]:
    """metrics.jsonl less what no two runs share."""
    records = lines(run_dir / "metrics.jsonl")
    return [{k: v for k, v in r.items() if not k.startswith(("time/", "memory/"))} for r in records]


def _flat(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [entry for key, inner in value.items() for entry in _flat(inner, f"{path}/{key}")]
    if isinstance(value, list):
        return [entry for i, inner in enumerate(value) for entry in _flat(inner, f"{path}/{i}")]
    return [(path, value)]

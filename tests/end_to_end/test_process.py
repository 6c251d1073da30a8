"""GRPO with process supervision on the pretrained model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real


def test_grpo_process_steps_trains_on_rewards_of_steps(rlft: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    words = ["trainer.steps=1", "trainer.prompts_per_step=2", "trainer.eval_size=0", "data.task_size=400"]
    words += ["data.samples_per_prompt=4", "data.max_completion_tokens=32", "model.rank=4"]
    # Whether anything is right at first is a matter of luck: short answers are, by this outcome.
    words += ["reward.outcome={_target_: rlft.rewards.Length, free: 4, limit: 32}", "output_dir=run"]
    summary = rlft("train", "recipe=grpo_process_steps", *words)
    assert (summary["status"], summary["method"]) == ("finished", "grpo_process")
    read = [
        (tmp_path / "run" / name).read_text(encoding="utf-8").split("\n") for name in ("samples.jsonl", "metrics.jsonl")
    ]
    samples, (metrics,) = ([json.loads(line) for line in lines if line] for lines in read)
    assert len(samples) == 8
    for sample in samples:
        ends = [end for end, _ in sample["steps"]]
        assert ends == sorted(ends) and ends[-1] == len(sample["text"])
        assert sample["steps"][-1][1] == sample["reward"] == sample["parts"]["length"]
    assert metrics["reward/part/arithmetic_steps"] <= 1 and metrics["gc/share_negative"] > 0 < metrics["grad_norm"]

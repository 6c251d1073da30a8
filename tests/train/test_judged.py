"""Metrics and samples are of the rewards as they were judged; what ranks or scales them is the algorithm's affair."""

from pathlib import Path
from typing import Any

import pytest
from runs import lines, make_plan, run, samples
from written import billed

from rlft.recipe import build, compose
from rlft.theory.measured import read_run
from rlft.theory.work import read_work

LOGGED = ("reward/mean", "reward/std", "reward/share_right", "group/all_right", "group/all_wrong")


@pytest.mark.parametrize("pattern", ["'u|'", "u"], ids=["all right", "some right"])
def test_ranks_do_not_change_what_is_right(pattern: str, tiny_dir: Path, tmp_path: Path) -> None:
    found: dict[str, tuple[list[Any], list[Any]]] = {}
    for transform in ("none", "rank"):
        words = [f"reward.transform={transform}", f"reward.pattern={pattern}", "data.samples_per_prompt=6"]
        run(make_plan(tiny_dir, tmp_path / transform, "grpo", *words, "trainer.steps=1", "trainer.eval_size=0"))
        (line,) = lines(tmp_path / transform / "metrics.jsonl")
        found[transform] = [line[key] for key in LOGGED], [row["reward"] for row in samples(tmp_path / transform)]
    assert found["rank"] == found["none"]
    metrics, rewards = found["rank"]
    assert set(rewards) == ({1.0} if pattern == "'u|'" else {0.0, 1.0})
    assert metrics[2] == sum(rewards) / 18
    if pattern == "'u|'":
        assert metrics == [1.0, 0.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("steps", "acceptance"),
    [
        ([{"reward/mean": -0.5, "reward/share_right": 0.25}, {"reward/mean": 0.5, "reward/share_right": 0.75}], 0.5),
        ([{"reward/mean": 0.25}, {"reward/mean": 0.5}], 0.375),
        ([{"reward/mean": -0.5}, {"reward/mean": 3.0}], 0.5),
    ],
    ids=["-1 for a wrong one", "an older version", "an older version, out of range"],
)
def test_a_runs_acceptance_is_its_share_of_right_completions(
    steps: list[dict[str, float]], acceptance: float, tmp_path: Path
) -> None:
    plan = build(compose(["recipe=topr_math"]).config, tmp_path)
    assert read_run(billed(tmp_path, steps), read_work(plan, 100), 0).acceptance == acceptance

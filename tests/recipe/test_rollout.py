"""The rollout group: what it composes to, what it refuses, and runs that were frozen before there was a choice."""

from pathlib import Path

import pytest
import yaml

from rlft.base import UserError
from rlft.models import VLLM, Native
from rlft.recipe import build, compose, differences, freeze, load_plan, recipe_hash


def make(tmp_path: Path, *words: str) -> object:
    return build(compose(["recipe=grpo_math", *words]).config, tmp_path).rollout


def test_who_draws_is_chosen_from_a_group(tmp_path: Path) -> None:
    assert make(tmp_path) == Native()
    assert make(tmp_path, "rollout=vllm") == VLLM()
    url = "rollout.url=http://localhost:8000"
    assert make(tmp_path, "rollout=vllm", url, "rollout.mismatch=masked") == VLLM(
        url="http://localhost:8000", mismatch="masked"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rollout=vlm"], "did you mean rollout=vllm"),
        (["rollout=vllm", "rollout.mismatc=none"], "did you mean rollout.mismatch?"),
        (["rollout=vllm", "rollout.mismatch=soft"], "expected one of none, truncated, masked"),
        (["rollout.url=http://localhost"], "unknown key rollout.url"),
        (["rollout=vllm", "data.temperature=0.7"], r"rollout.mismatch=truncated .* data.temperature=0.7"),
        (["rollout=vllm", "data.top_p=0.9", "data.min_p=0.1"], "data.top_p=0.9, data.min_p=0.1"),
        (["rollout=vllm", "trainer.processes=2"], "type rollout.url=http://HOST:PORT"),
        (["rollout=vllm", "model.adapter=none"], "model.adapter=none: vLLM is handed an adapter"),
        (["rollout._target_=rlft.models.ModelConfig"], "is not a subclass of rlft.models.rollout.Rollout"),
        (["rollout._target_=os.system"], r"rollout\._target_: os\.system is refused"),
    ],
)
def test_what_is_refused_before_anything_is_loaded(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        make(tmp_path, *words)


@pytest.mark.parametrize(
    "words",
    [
        ["data.temperature=0.7", "rollout.mismatch=none"],
        ["trainer.processes=2", "rollout.url=http://localhost:8000"],
        ["data=offline", "algorithm=rft", "data.temperature=0.7"],  # drawn from π_ref: nothing is corrected
    ],
)
def test_what_is_not(words: list[str], tmp_path: Path) -> None:
    assert isinstance(make(tmp_path, "rollout=vllm", *words), VLLM)


def test_a_run_frozen_without_the_node_goes_on_natively_under_its_old_name(tmp_path: Path) -> None:
    config = compose(["recipe=grpo_math"]).config
    old = {key: value for key, value in config.items() if key != "rollout"}
    freeze(old, tmp_path)
    assert "rollout" not in yaml.safe_load((tmp_path / "config.yaml").read_text())
    plan = load_plan(tmp_path)
    assert plan.rollout == Native() and plan.config == config
    assert differences(config, tmp_path) == [] and recipe_hash(old) == recipe_hash(config)
    other = compose(["recipe=grpo_math", "rollout=vllm"]).config
    assert "rollout._target_" in differences(other, tmp_path) and recipe_hash(other) != recipe_hash(config)

"""Run directories, frozen recipes and what comes back from them."""

import re
from pathlib import Path

import pytest

from rlft.base import UserError
from rlft.recipe import build, compose, freeze, load_plan, recipe_hash, run_directory


def test_a_frozen_recipe_comes_back_whole(tmp_path: Path) -> None:
    words = ["recipe=ppo_math", "trainer.learning_rate=1e-7", "data.system='null'", 'data.prompt="{question} ${x}"']
    config = compose([word.replace("$", "\\$") for word in words]).config
    assert config["data"]["system"] == "null"
    assert "${x}" in config["data"]["prompt"]
    freeze(config, tmp_path / "run")
    plan = load_plan(tmp_path / "run")
    assert plan.config == config
    assert plan.run_dir == tmp_path / "run"
    assert plan.trainer.learning_rate == 1e-7
    assert plan.trainer.verifier is not None
    assert load_plan(tmp_path / "run", stop_after=7).trainer.stop_after == 7


def test_a_directory_that_holds_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run directory"):
        load_plan(tmp_path)
    (tmp_path / "config.yaml").write_text("- 1\n")
    with pytest.raises(UserError, match="expected a mapping"):
        load_plan(tmp_path)
    (tmp_path / "config.yaml").write_text("a: [\n")
    with pytest.raises(UserError, match="cannot be read"):
        load_plan(tmp_path)


def test_a_run_is_named_by_what_it_computes() -> None:
    def name(*words: str) -> str:
        return recipe_hash(compose(["recipe=grpo_math", *words]).config)

    assert name() == name("output_dir=x") == name("trainer.stop_after=3") == name("algorithm.beta=0.04")
    assert len({name(), name("seed=1"), name("algorithm.beta=0"), name("trainer.steps=3")}) == 4
    assert run_directory(compose(["recipe=grpo_math"]).config) == Path("runs") / f"grpo_math-{name()}"
    assert run_directory(compose(["recipe=grpo_math", "output_dir=here"]).config) == Path("here")


def test_a_class_may_refuse_its_values(tmp_path: Path) -> None:
    config = compose(["recipe=grpo_math", "reward.clip_low=2"]).config
    with pytest.raises(UserError, match=r"reward\.clip_low"):
        build(config, tmp_path)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trainer.steps=-5", "trainer.steps=-5: expected a number of at least 1"),
        ("trainer.prompts_per_step=0", "trainer.prompts_per_step=0"),
        ("trainer.learning_rate=-1", "trainer.learning_rate=-1"),
        ("trainer.tokens_per_micro_batch=0", "trainer.tokens_per_micro_batch=0"),
        ("trainer.beta2=1", "trainer.beta2=1"),
        ("model.rank=0", "model.rank=0"),
        ("model.dropout=2", "model.dropout=2"),
    ],
)
def test_numbers_out_of_range_are_refused(word: str, message: str, tmp_path: Path) -> None:
    config = compose(["recipe=grpo_math", word]).config
    with pytest.raises(UserError, match=re.escape(message)):
        build(config, tmp_path)

"""Every shipped recipe composes, fits the classes it names, and builds."""

import json
from pathlib import Path

import pytest

from rlft.algorithms import KTO, BradleyTerry, Distill, Formula, PolicyGradient, Preference, WeightedLikelihood
from rlft.base import UserError
from rlft.data import Labelled, Offline, Online, Pairs, Recorded
from rlft.recipe import build, compose, read_data
from rlft.recipe.build import recipe_hash
from rlft.recipe.groups import GROUPS, options, shipped, summary_line

PAIRED = ("dpo", "ipo", "hinge", "robust", "rpo", "simpo", "orpo")
FROM_POOL = (*PAIRED, "kto", "dpo_note", "reward_model")
SAMPLED = (
    "ppo_note",
    "grpo_note",
    "dr_grpo",
    "dapo",
    "rloo",
    "reinforce_pp",
    "gspo",
    "cispo",
    "sapo",
    "max_rl",
    "topr",
    "formula",
    "distill",
)
SOURCES = {
    **dict.fromkeys(SAMPLED, Online),
    "sft": Recorded,
    "rft": Offline,
    "online_rft": Online,
    "ppo": Online,
    "grpo": Online,
    "grpo_process": Online,
}
NOTES = ("dpo_note", "ppo_note", "grpo_note")
ALGORITHMS = {
    **dict.fromkeys(SAMPLED, PolicyGradient),
    **dict.fromkeys(NOTES, Formula),
    **dict.fromkeys(PAIRED, Preference),
    "reward_model": BradleyTerry,
    "formula": Formula,
    "distill": Distill,
    "kto": KTO,
    "sft": WeightedLikelihood,
    "rft": WeightedLikelihood,
    "online_rft": WeightedLikelihood,
    "ppo": PolicyGradient,
    "grpo": PolicyGradient,
    "grpo_process": PolicyGradient,
}
ROWS = [
    {"question": "Ann has 3 boxes of 4 pens. How many pens?", "answer": "3 boxes of 4 are 12.\n#### 12"},
    {"question": "A train runs 60 km an hour for 2 hours. How far?", "answer": "60 * 2 = 120.\n#### 120"},
]
PAIRS = [{"prompt": "What is 3 * 4?", "chosen": "12", "rejected": "7"}]


def test_the_recipes_are_these() -> None:
    assert set(options("recipe")) == {
        *(f"{method}_math" for method in ("sft", "rft", "online_rft", "ppo", "grpo", *FROM_POOL, *SAMPLED)),
        "grpo_mixed",
        "reward_model_math",
        "ppo_math_rm",
        *(f"{method}_gsm8k" for method in ("sft", "rft", "dpo", "ppo", "grpo", "kto", "reward_model")),
        *(f"{method}_steps" for method in ("rft", "online_rft", "grpo", "grpo_process")),
    }


@pytest.mark.parametrize("name", options("recipe"))
def test_a_recipe_is_sound(name: str, tmp_path: Path) -> None:
    method, _, task = name.removesuffix("_rm").rpartition("_")
    words = [f"recipe={name}"]
    if name.endswith("_rm"):
        words.append(f"reward.path={tmp_path}")
    if task == "gsm8k":
        file = tmp_path / "rows.jsonl"
        rows = PAIRS if method in ("dpo", "kto", "reward_model") else ROWS
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        words.append(f"data.train_file={file}")
    composed = compose(words)
    plan = build(composed.config, tmp_path / "run")
    read_data(plan)
    recorded = {"dpo_gsm8k": Pairs, "kto_gsm8k": Labelled, "reward_model_gsm8k": Pairs}
    source = recorded.get(name) or (Offline if method in FROM_POOL else SOURCES[method])
    assert type(plan.source) is source
    assert isinstance(plan.algorithm, ALGORITHMS[method])
    assert plan.recipe == name
    assert plan.config == composed.config
    assert build(plan.config, plan.run_dir).config == plan.config
    assert f"algorithm {plan.method}: GC" in plan.triple()


@pytest.mark.parametrize("name", [name for name in options("recipe") if name.endswith("_gsm8k")])
def test_a_recipe_without_data_of_its_own_asks_for_it(name: str, tmp_path: Path) -> None:
    plan = build(compose([f"recipe={name}"]).config, tmp_path)
    with pytest.raises(UserError, match=r"data\.train_file=PATH"):
        read_data(plan)


def test_a_learned_reward_that_is_not_there_is_said_before_a_model_is_loaded(tmp_path: Path) -> None:
    words = ["recipe=ppo_math_rm", f"reward.path={tmp_path}/none"]
    with pytest.raises(UserError, match=r"reward\.path=.*/none: there is no such folder.*recipe=reward_model_math"):
        read_data(build(compose(words).config, tmp_path))
    assert compose(["recipe=ppo_math_rm"]).config["reward"]["path"] == "runs/reward_model_math/adapter"
    assert compose(["recipe=reward_model_math"]).config["output_dir"] == "runs/reward_model_math"


def test_the_algorithm_of_a_recipe_can_be_replaced_and_leaves_nothing_behind() -> None:
    config = compose(["recipe=grpo_math", "algorithm=rft"]).config
    assert config == {**compose(["recipe=grpo_math", "algorithm=rft", "data=online"]).config}
    assert set(config["algorithm"]) == {"_target_", "reduction"}
    assert config["method"] == "rft"
    assert config["data"]["_target_"] == "rlft.data.Online"


def test_what_a_recipe_set_for_the_data_it_chose_is_left_out_with_other_data() -> None:
    composed = compose(["recipe=grpo_math", "data=recorded", "reward=implicit", "algorithm=sft"])
    assert "samples_per_prompt" not in composed.config["data"]
    assert composed.config["data"]["max_completion_tokens"] == 24
    assert any(note.startswith("data.samples_per_prompt") for note in composed.notes)
    with pytest.raises(UserError, match=r"data\.samples_per_prompt"):
        compose(["recipe=grpo_math", "data=recorded", "data.samples_per_prompt=4"])


def test_interpolations_are_resolved() -> None:
    config = compose(["recipe=grpo_math", "algorithm=dr_grpo", "data.max_completion_tokens=31"]).config
    assert config["algorithm"]["reduction"]["length"] == 31


def test_an_algorithm_of_steps_is_refused_with_a_reward_that_judges_none(tmp_path: Path) -> None:
    words = ["recipe=grpo_math", "algorithm=grpo_process"]
    plan = build(compose(words).config, tmp_path)
    with pytest.raises(UserError, match=r"algorithm grpo_process needs rewards of steps.*reward=arithmetic_steps"):
        read_data(plan)
    read_data(plan, training=False)
    plan = build(compose([*words, "reward=arithmetic_steps", "reward.outcome.timeout=2"]).config, tmp_path)
    read_data(plan)
    assert plan.reward.name == "arithmetic_steps · math_answer"


def test_distillation_without_a_teacher_is_refused(tmp_path: Path) -> None:
    words = ["recipe=grpo_math", "algorithm=distill"]
    plan = build(compose(words).config, tmp_path)
    with pytest.raises(
        UserError, match=r"needs a teacher: type teacher\.path=.*teacher\.adapter_path=.*teacher\.prompt="
    ):
        read_data(plan)
    read_data(plan, training=False)
    for word in ("teacher.path=x", "teacher.adapter_path=x", 'teacher.prompt="{question} {answer}"'):
        read_data(build(compose([*words, word]).config, tmp_path))
    with pytest.raises(UserError, match=r"teacher\.promt.*teacher\.prompt"):
        compose([*words, "teacher.promt=x"])


def test_a_recipe_without_a_teacher_keeps_the_name_that_it_had() -> None:
    config = compose(["recipe=grpo_math"]).config
    assert config["teacher"] == {
        "_target_": "rlft.models.TeacherConfig", "path": None, "revision": None, "adapter_path": None,
        "prompt": None,
    }  # fmt: skip
    assert recipe_hash(config) == recipe_hash({key: value for key, value in config.items() if key != "teacher"})


def test_every_file_is_short_and_says_what_it_is() -> None:
    for group in GROUPS:
        for path in options(group).values():
            assert summary_line(path) or group == "algorithm", path
            if group == "recipe":
                assert len(path.read_text().splitlines()) <= 25, path
    assert (shipped() / "config.yaml").is_file()

"""rlft's side of the benchmark on the tiny model: recipes compose, steps train, recorded steps repeat."""

import json
from pathlib import Path
from typing import Any

import pytest
from bench import kinds, material, rlft_side
from bench.kinds import Setting
from tiny import tiny_model_dir

from rlft.recipe import compose
from rlft.train.session import Session, set_up

ROWS = [material.Row(f"What is {n} + {n + 1}?", f"It is {2 * n + 1}.", f"It is {n}.") for n in range(8)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model_dir(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def setting(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Setting:
    none: Any = None
    return Setting(
        model=str(model), chat=none, work=tmp_path_factory.mktemp("work"), warmup=1, steps=1, tune_steps=1, threads=1,
        variants=None, prompts=2, samples=3, limit=5, pairs=2, rows=4, rollout_rows=(6,), data=None, short_data=None,
        pair_data=None, vllm_python=None, axes={}, gemm=1.0, say=print,
    )  # fmt: skip


def session(settings: dict[str, Any]) -> Session:
    return set_up(rlft_side.plan(settings), lambda _: None)


@pytest.fixture(scope="module")
def grpo(setting: Setting) -> dict[str, Any]:
    questions = setting.work / "questions.jsonl"
    questions.write_text("".join(json.dumps({"prompt": row.question, "completion": "-"}) + "\n" for row in ROWS))
    return {"words": kinds.sampled_words(setting, str(questions), 2, 3, 5)}


@pytest.mark.parametrize("recipe", ["grpo_gsm8k", "dpo_gsm8k", "sft_gsm8k"])
def test_the_recipes_are_those_that_are_compared(setting: Setting, recipe: str) -> None:
    config = compose(kinds.words(setting, recipe, 4, "rows.jsonl", max_completion_tokens=7)).config
    assert config["model"] | {"rank": 16, "alpha": 32.0, "dtype": "bfloat16"} == config["model"]
    assert config["data"] | {"shuffle": False, "prompt": "{question}", "max_completion_tokens": 7} == config["data"]
    assert config["trainer"]["prompts_per_step"] == 4 and config["trainer"]["max_grad_norm"] == 1.0
    wanted = {"grpo_gsm8k": "PolicyGradient", "dpo_gsm8k": "DPO", "sft_gsm8k": "WeightedLikelihood"}
    assert config["algorithm"]["_target_"].endswith(wanted[recipe])


def test_a_step_trains_all_it_drew_and_says_what_it_took(grpo: dict[str, Any]) -> None:
    ready = session(grpo)
    before = [p.clone() for p in ready.policy.parameters() if p.requires_grad]
    record = rlft_side.stepper(ready, {**grpo, "forced": True})()
    assert record["tokens"] == 2 * 3 * 5  # 2 prompts, 3 samples, 5 tokens: none ends early
    assert record["positions"] == record["prompt_tokens"] + 2 * 3 * 4  # nothing follows the last token
    parts = ("rollout_s", "reward_s", "reference_s", "update_s")
    assert sum(record[part] for part in parts) == pytest.approx(record["seconds"]) and record["update_s"] > 0
    after = [p for p in ready.policy.parameters() if p.requires_grad]
    assert any(not one.equal(two) for one, two in zip(before, after, strict=True))


def test_the_shape_counts_the_layers_without_embedding_and_head(grpo: dict[str, Any]) -> None:
    ready = session(grpo)
    found = rlft_side.shape(ready)
    config = ready.policy.base.config
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    keys = width * config.num_key_value_heads // config.num_attention_heads
    assert found.linear == layers * (2 * width * width + 2 * width * keys + 3 * width * inner)
    assert found.adapter == layers * 16 * (2 * (width + width) + 2 * (width + keys) + 3 * (width + inner))
    assert (found.width, found.vocabulary) == (width, config.vocab_size)


def test_recorded_groups_come_back_as_they_were_drawn(grpo: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "drawn.jsonl"
    drawn = rlft_side.stepper(session(grpo), {**grpo, "record": str(file)})()
    step = rlft_side.stepper(session(grpo), {**grpo, "replay": str(file)})
    assert step()["tokens"] == drawn["tokens"]
    [groups] = material.lines(str(file))
    again = rlft_side.replayed(groups[0])
    assert again.query.messages == ROWS[0].messages and len(again.completions) == 3
    assert rlft_side.recorded(again, session(grpo)) == {
        **groups[0], "completions": [{**c, "token_ids": tuple(c["token_ids"])} for c in groups[0]["completions"]],
        "query": {**groups[0]["query"], "messages": ROWS[0].messages},
    }  # fmt: skip


def test_a_rollout_draws_the_rows_it_is_told_to(grpo: dict[str, Any]) -> None:
    settings = {**grpo, "forced": True, "rollout": {"rows": 6, "samples": 3, "limit": 4}}
    assert rlft_side.stepper(session(settings), settings)()["tokens"] == 6 * 4

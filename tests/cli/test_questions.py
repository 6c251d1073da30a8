"""Which questions `rlft eval RUN_DIR` asks, and what its files are called."""

from pathlib import Path
from typing import Any

import pytest

from rlft.cli.questions import suffix, words_before
from rlft.recipe import compose
from rlft.recipe.overrides import changed


def frozen(*words: str) -> dict[str, Any]:
    return compose(["recipe=grpo_math", *words]).config


def asked(config: dict[str, Any], *words: str) -> dict[str, Any]:
    return changed(config, [*words_before(list(words), config), *words])["data"]


def test_a_share_is_held_out_of_what_the_run_was_trained_on_and_of_nothing_else() -> None:
    hub = frozen("data.task=null", "data.hub_id=openai/gsm8k", "data.hub_config=main")
    assert asked(hub, "data.hub_split=test")["held_out_share"] == 1
    assert asked(hub, "data.hub_split=test", "data.held_out_share=0.3")["held_out_share"] == 0.3
    assert asked(hub, "data.hub_split=train") == asked(hub, "data.hub_id=openai/gsm8k") == hub["data"]
    other = asked(hub, "data.train_file=x.jsonl")
    assert (other["train_file"], other["hub_id"], other["held_out_share"]) == ("x.jsonl", None, 1)
    same = asked(other := {"data": {**hub["data"], **other, "held_out_share": 0.05}}, "data.train_file=./x.jsonl")
    assert same["held_out_share"] == 0.05 and suffix(["data.train_file=./x.jsonl"], other, "x") == ""
    assert asked(frozen(), "data.prompt='{question} Think.'")["held_out_share"] == 0.05


def test_another_task_has_its_own_settings() -> None:
    config = frozen("data.task_levels=2")
    assert config["data"]["task_settings"]["max_digits"] == 2
    data = asked(config, "data.task=leg_counting")
    assert (data["task"], data["task_settings"], data["task_levels"], data["question_pattern"]) == (
        "leg_counting", {}, 1, None,
    )  # fmt: skip
    words = ["data.task=leg_counting", "data.task_settings={max_animals: 4}", "data.task_levels=3"]
    data = asked(config, *words)
    assert (data["task_settings"], data["task_levels"]) == ({"max_animals": 4}, 3)
    assert asked(config, "data.task=chain_sum") == config["data"]


def test_a_file_of_questions_needs_nothing_to_train_on() -> None:
    config = frozen("data.validation_share=0.1", "data.evaluate_on=validation")
    data = asked(config, "data.eval_file=x.jsonl")
    assert (data["task"], data["eval_file"], data["evaluate_on"]) == (None, "x.jsonl", "held_out")
    own = frozen("data.eval_file=x.jsonl")
    assert asked(own, "data.eval_file=x.jsonl") == own["data"]


@pytest.mark.parametrize(
    "word",
    ["trainer.eval_size=9", "trainer.device=cpu", "seed=3", "data.max_completion_tokens=24", "data.task=chain_sum"],
)
def test_the_run_s_own_questions_keep_their_names(word: str) -> None:
    assert suffix([word], frozen(), "chain_sum") == ""


def test_other_questions_or_other_ways_to_put_or_judge_them_have_names_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = frozen()
    changes = [
        ["data.eval_file=a/test.jsonl"], ["data.eval_file=b/test.jsonl"], ["data.system='Be brief.'"],
        ["data.prompt='{question} Think.'"], ["data.task_settings={max_terms: 3}"], ["data.max_completion_tokens=96"],
        ["data.eval_file=a/test.jsonl", "data.max_completion_tokens=96"], ["reward.wrong=-1"], ["model.dtype=bfloat16"],
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    ends = [suffix(words, config, "a/test.jsonl") for words in changes]
    assert len(set(ends)) == len(changes) and all(end.startswith("_test-") for end in ends)
    assert ends == [suffix(words, config, "b/test.jsonl") for words in changes]
    Path("a").mkdir()
    monkeypatch.chdir("a")
    assert suffix(["data.eval_file=test.jsonl"], config, "test.jsonl") == ends[0], "the same file by another path"

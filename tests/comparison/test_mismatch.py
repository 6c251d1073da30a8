"""Runs that asked the same questions, put or judged otherwise."""

import json
from pathlib import Path
from typing import Any

import pytest
from compared import run

from rlft.base import UserError
from rlft.comparison import compare


def test_the_same_questions_put_otherwise_or_judged_otherwise_are_no_comparison(tmp_path: Path) -> None:
    one, two = run(tmp_path, "grpo", 60), run(tmp_path, "sft", 50)
    rows = [json.loads(line) for line in (two / "eval_after.jsonl").read_text(encoding="utf-8").splitlines()]
    rows[3]["question"] = "What is 1 + 1? Think."
    (two / "eval_after.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with (two / "config.yaml").open("a", encoding="utf-8") as config:
        config.write("trainer:\n  verifier: {_target_: rlft.rewards.MultipleChoice}\n")
    with pytest.raises(UserError) as error:
        compare([one, two], tmp_path / "out")
    assert "differ in the prompt of 1 questions, e.g. (grpo: '', sft: 'What is 1 + 1? Think.')" in str(error.value)
    assert "what judges answers, trainer.verifier or the reward (grpo: None, sft: MultipleChoice)" in str(error.value)


def test_without_a_verifier_the_reward_judges(tmp_path: Path) -> None:
    def judged(name: str, reward: str) -> Path:
        path = run(tmp_path, name, 50)
        with (path / "config.yaml").open("a", encoding="utf-8") as config:
            config.write(f"trainer: {{verifier: null}}\nreward: {{_target_: rlft.rewards.{reward}}}\n")
        return path

    one = judged("grpo", "MathAnswer")
    with pytest.raises(UserError, match=r"what judges answers.*grpo: MathAnswer, rloo: MultipleChoice"):
        compare([one, judged("rloo", "MultipleChoice")], tmp_path / "out")
    same = run(tmp_path, "sft", 50)
    with (same / "config.yaml").open("a", encoding="utf-8") as config:
        config.write("trainer:\n  verifier: {_target_: rlft.rewards.MathAnswer}\n")
    assert compare([one, same], tmp_path / "out")["pairs"]


def told(path: Path, *earlier: dict[str, str], **settings: Any) -> Path:
    """Gives a run's answers the turns before the question, and its recipe settings of the data."""
    file = path / "eval_after.jsonl"
    rows = [json.loads(line) | {"earlier": list(earlier)} for line in file.read_text(encoding="utf-8").splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return configured(path, **settings)


def configured(path: Path, **settings: Any) -> Path:
    with (path / "config.yaml").open("a", encoding="utf-8") as config:
        config.write(f"data: {json.dumps(settings)}\n")
    return path


def test_other_system_turns_are_another_prompt(tmp_path: Path) -> None:
    brief = {"role": "system", "content": "Be brief."}
    paths = [told(run(tmp_path, "grpo", 60)), told(run(tmp_path, "sft", 50), brief)]
    words = (
        "the runs differ in the turns before the prompt of 100 questions, e.g. (grpo: 'none', sft: 'system: Be brief.')"
    )
    with pytest.raises(UserError) as error:
        compare(paths, tmp_path / "out")
    assert words in str(error.value)
    assert compare(paths, tmp_path / "out", allow_mismatch=True)["mismatches"] == [words]
    assert compare([paths[1], told(run(tmp_path, "dpo", 60), brief)], tmp_path / "out")["pairs"]


def test_one_model_in_two_dtypes_is_told_by_them(tmp_path: Path) -> None:
    paths = [run(tmp_path, "grpo", 60, base_model="a1"), run(tmp_path, "sft", 50, base_model="b2")]
    for path, dtype in zip(paths, ("float32", "bfloat16"), strict=True):
        with (path / "config.yaml").open("a", encoding="utf-8") as config:
            config.write(f"model: {{path: embedded, dtype: {dtype}}}\n")
    with pytest.raises(UserError, match=r"base model \(grpo: a1 embedded float32, sft: b2 embedded bfloat16\)"):
        compare(paths, tmp_path / "out")


def test_of_runs_whose_answers_have_no_earlier_turns_the_recipe_says_the_system_turn(tmp_path: Path) -> None:
    brief = {"role": "system", "content": "Be brief."}
    old = configured(run(tmp_path, "grpo", 60), system="Be brief.")
    assert compare([old, told(run(tmp_path, "sft", 50), brief, system="Be brief.")], tmp_path / "out")["pairs"]
    two = [told(run(tmp_path, "dpo", 40), system=None), told(run(tmp_path, "rft", 30), brief, system="Be brief.")]
    with pytest.raises(UserError) as error:
        compare([old, *two], tmp_path / "out")
    assert "differ in data.system (grpo: Be brief., dpo: None, rft: Be brief.)" in str(error.value)
    assert "before the prompt of 100 questions, e.g. (dpo: 'none', rft: 'system: Be brief.')" in str(error.value)

"""Whole runs of a reward model: what it learns, what it leaves behind, and a policy trained against it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import MANY, REWARD, SHORT, adapter, assert_equal, lines, make_plan, run, state

from rlft.base import Completion, Group, Query, UserError
from rlft.recipe import build, compose
from rlft.rewards import RewardModel
from rlft.train import Plan, evaluate_plan

SAMPLED = ["recipe=reward_model_math", *REWARD, *MANY, "data.pool=8", *SHORT, "trainer.verifier=null"]
RECORDED = ["recipe=reward_model_gsm8k", *[word for word in SHORT if not word.startswith("data.")]]
THINGS = ("pens", "cups", "hats", "dogs", "keys", "maps", "nuts", "figs", "jars", "pots", "cars", "bees")


def plan_of(words: list[str], model: Path, run_dir: Path, *changes: str) -> Plan:
    return build(compose([*words, f"model.path={model}", *changes]).config, run_dir)


@pytest.fixture(scope="module", params=["false", "true"], ids=["a score at the end", "a score of each token"])
def trained(
    request: pytest.FixtureRequest, tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The run directory and the summary of a reward model for polite answers."""
    folder = tmp_path_factory.mktemp("polite")
    rows = [
        {"prompt": f"How many {a} and {b}?", "chosen": "please", "rejected": "no"} for a in THINGS for b in THINGS[:4]
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = [f"data.train_file={folder}/pairs.jsonl", "data.balance_writers=false", "data.held_out_share=0.3"]
    words += [f"algorithm.averaged={request.param}"]
    words += ["trainer.steps=8", "trainer.eval_every=4", "trainer.eval_size=5", "trainer.schedule=constant"]
    words += ["trainer.learning_rate=0.01", "trainer.head_learning_rate=null", "trainer.warmup_steps=0"]
    plan = plan_of(RECORDED, tiny_dir, folder / "run", *words)
    return plan.run_dir, run(plan)


def averaged(run_dir: Path) -> bool:
    """Whether the run's model scores each token."""
    return "averaged: true" in (run_dir / "config.yaml").read_text(encoding="utf-8")


def test_it_learns_what_is_preferred(trained: tuple[Path, dict[str, Any]]) -> None:
    run_dir, summary = trained
    result, records = summary["eval"], lines(run_dir / "metrics.jsonl")
    assert (result["n"], result["questions"], result["pair_accuracy"]) == (5, 5, 1.0)
    assert result["pair_interval"][0] < 1.0 == result["pair_interval"][1]
    of_answers = [record["gc/mean_abs"] * record["tokens/trained"] / 6 for record in records]
    assert of_answers[0] == pytest.approx(0.5), "all scores are 0 at first"
    assert of_answers[-1] < 0.4
    each = {record["tokens/trained"] for record in records}
    assert all(count > 6 for count in each) if averaged(run_dir) else each == {6}, "three pairs, a score each"
    assert [record["step"] for record in records if "eval/accuracy" in record] == [4, 8]
    pairs = lines(run_dir / "eval_pairs.jsonl")
    assert [pair["correct"] for pair in pairs] == [1.0] * 5
    assert {(pair["right"], pair["wrong"]) for pair in pairs} == {("please", "no")}


def test_what_it_leaves_is_a_reward(trained: tuple[Path, dict[str, Any]]) -> None:
    run_dir, _ = trained
    pairs = lines(run_dir / "eval_pairs.jsonl")
    groups = [
        Group(
            Query(pair["id"], ({"role": "user", "content": pair["question"]},)),
            (Completion((), pair["right"]), Completion((), pair["wrong"])),
        )
        for pair in pairs
    ]
    judged = RewardModel(path=str(run_dir / "adapter"), device="cpu").score(groups)
    for pair, group in zip(pairs, judged, strict=True):
        found = [reward.value for reward in group.rewards]
        assert found == pytest.approx([pair["right_score"], pair["wrong_score"]], abs=1e-4)
    card = (run_dir / "README.md").read_text(encoding="utf-8")
    kind = "Token" if averaged(run_dir) else "Sequence"
    assert "Held-out pair accuracy 100.0% [" in card and f"AutoModelFor{kind}Classification" in card
    assert "num_labels=1" in card


def test_a_policy_is_trained_against_it(trained: tuple[Path, dict[str, Any]], tiny_dir: Path, tmp_path: Path) -> None:
    words = ["recipe=ppo_math_rm", *MANY, *SHORT, "trainer.steps=1", "trainer.eval_size=0"]
    summary = run(plan_of(words, tiny_dir, tmp_path, f"reward.path={trained[0] / 'adapter'}"))
    (record,) = lines(tmp_path / "metrics.jsonl")
    assert record["reward/std"] > 0 and record["grad_norm"] > 0
    assert record["reward/mean"] == pytest.approx(record["reward/part/reward_model"])
    assert summary["totals"]["flops_by_part"]["reward"] > 0


def test_pairs_are_sampled_and_a_resumed_run_is_the_same(tiny_dir: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    words = ["trainer.steps=2", "trainer.eval_size=6", "trainer.eval_every=1", "trainer.keep_best=true"]
    words += ["trainer.head_learning_rate=0.01"]
    summary = run(plan_of(SAMPLED, tiny_dir, whole, *words))
    run(plan_of(SAMPLED, tiny_dir, broken, *words, "trainer.stop_after=1"))
    assert json.loads((broken / "summary.json").read_text(encoding="utf-8"))["eval"] is None
    again = run(plan_of(SAMPLED, tiny_dir, broken, *words), resume=True)
    assert again["eval"] == summary["eval"] and summary["eval"]["n"] > 0
    assert_equal(adapter(broken), adapter(whole))
    assert_equal(state(broken), state(whole))
    assert any(name.endswith("score.weight") and value.any() for name, value in adapter(whole).items())
    rows = lines(whole / "eval_pairs.jsonl")
    assert summary["eval"]["pair_accuracy"] == pytest.approx(sum(row["correct"] for row in rows) / len(rows))


def test_the_head_learns_at_a_rate_of_its_own(tiny_dir: Path, tmp_path: Path) -> None:
    """AdamW's first step moves each weight by its rate. The second is at half of it, by the recipe's schedule."""
    words = ["trainer.eval_size=0", "trainer.learning_rate=0", "trainer.schedule=linear", "trainer.steps=2"]
    words += ["trainer.save_every=1", "trainer.head_learning_rate=0.01", "trainer.beta1=0", "trainer.beta2=0"]
    run(plan_of(SAMPLED, tiny_dir, tmp_path, *words, "trainer.stop_after=1"))
    weights = adapter(tmp_path)
    (head,) = (value for name, value in weights.items() if name.endswith("score.weight"))
    assert torch.allclose(head.abs(), torch.full_like(head, 0.01), rtol=1e-3)
    run(plan_of(SAMPLED, tiny_dir, tmp_path, *words), resume=True)
    for name, value in adapter(tmp_path).items():
        moved = (value - weights[name]).abs()
        assert torch.allclose(moved, torch.full_like(moved, 0.005 if name.endswith("score.weight") else 0.0), rtol=1e-3)


@pytest.mark.parametrize(
    ("value", "message"), [(0.01, "grpo trains no score.*algorithm=bradley_terry"), (-1, "least 0")]
)
def test_a_rate_of_no_head_is_refused(value: float, message: str, tiny_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"trainer.head_learning_rate={value}.*{message}"):
        make_plan(tiny_dir, tmp_path, "grpo", f"trainer.head_learning_rate={value}").check()


def test_questions_without_both_kinds_of_answers_measure_nothing(tiny_dir: Path, tmp_path: Path) -> None:
    summary = run(plan_of(SAMPLED, tiny_dir, tmp_path, "trainer.steps=1", "trainer.eval_size=1"))
    assert summary["eval"] is None and not list(tmp_path.glob("eval_*"))


def test_a_model_that_scores_is_asked_no_questions(tiny_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"algorithm bradley_terry trains scores.*answers no questions"):
        evaluate_plan(plan_of(SAMPLED, tiny_dir, tmp_path))
    assert make_plan(tiny_dir, tmp_path, "sft").algorithm.trains == "log_probs"

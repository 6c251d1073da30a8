"""Runs that end when a budget is spent."""

import json
from pathlib import Path

import pytest
from runs import lines, make_plan, run, said

from rlft.base import UserError
from rlft.recipe import compose
from rlft.train.budget import Budget, Meter
from rlft.train.schedule import schedule


def test_one_unit_and_a_positive_amount() -> None:
    assert (Budget().unit, Budget().amount) == (None, float("inf"))
    assert (Budget(seconds=3.5).unit, Budget(seconds=3.5).amount) == ("seconds", 3.5)
    with pytest.raises(UserError, match=r"budget\.flops and budget\.seconds are given: one unit"):
        Budget(flops=1.0, seconds=1.0)
    with pytest.raises(UserError, match=r"budget\.prompts=0: expected a number above 0"):
        Budget(prompts=0)


def test_a_meter_reads_batches() -> None:
    meter = Meter(Budget(flops=100.0))
    meter.start(10.0)
    for total in (40.0, 95.0, 105.0):
        assert meter.share < 1
        meter.read(total)
    assert (meter.share, meter.spent, meter.largest) == (1, 105, 55)
    assert meter.as_dict() == {"unit": "flops", "amount": 100, "spent": 105, "largest_batch": 55}
    assert Meter(Budget()).as_dict() is None
    with pytest.raises(UserError, match=r"budget\.flops=100: 100 are spent before the first batch.*lower data\.pool"):
        Meter(Budget(flops=100.0)).start(100.0)


def test_the_learning_rate_falls_with_what_is_spent() -> None:
    meter = Meter(Budget(prompts=10))
    rate = schedule("linear", 1, 3, lambda: meter.share)
    meter.read(4)
    assert [rate(0), rate(1), rate(50)] == [1, 0.6, 0.6]


@pytest.mark.parametrize("method", ["grpo", "sft", "dpo", "rft"])
def test_the_batch_that_reaches_the_budget_is_the_last(method: str, tiny_dir: Path, tmp_path: Path) -> None:
    summary = run(make_plan(tiny_dir, tmp_path, method, "budget.prompts=8", "trainer.steps=1"))
    assert (summary["steps"], summary["totals"]["prompts"], summary["status"]) == (3, 9, "finished")
    assert summary["budget"] == {"unit": "prompts", "amount": 8, "spent": 9, "largest_batch": 3}


@pytest.mark.parametrize("unit", ["flops", "trained_tokens", "generated_tokens", "reward_calls", "seconds"])
def test_a_budget_in_any_unit_is_spent_within_a_batch(unit: str, tiny_dir: Path, tmp_path: Path) -> None:
    once = run(make_plan(tiny_dir, tmp_path / "once", "grpo", "trainer.steps=1", "trainer.eval_size=0"))["totals"]
    amount = once[unit] * (2.5 if unit == "flops" else 2)
    whole = amount if isinstance(amount, float) else int(amount)
    summary = run(make_plan(tiny_dir, tmp_path / "all", "grpo", f"budget.{unit}={whole}", "trainer.eval_size=0"))
    spent = summary["budget"]
    assert spent["spent"] == summary["totals"][unit]
    assert amount <= spent["spent"] < amount + spent["largest_batch"]


def test_a_resumed_run_spends_no_more(tiny_dir: Path, tmp_path: Path) -> None:
    changes = ["budget.prompts=11", "trainer.schedule=linear", "trainer.eval_size=0"]
    whole = run(make_plan(tiny_dir, tmp_path / "whole", "dpo", *changes))
    stopped = run(make_plan(tiny_dir, tmp_path / "halves", "dpo", *changes, "trainer.stop_after=2"))
    assert (stopped["steps"], stopped["budget"]["spent"]) == (2, 6)
    halves = run(make_plan(tiny_dir, tmp_path / "halves", "dpo", *changes), resume=True)
    assert halves["steps"] == whole["steps"] == 4
    assert halves["budget"] == whole["budget"]
    assert halves["totals"]["reward_calls"] == whole["totals"]["reward_calls"]
    rates = [
        [line["learning_rate"] for line in lines(tmp_path / name / "metrics.jsonl")] for name in ("whole", "halves")
    ]
    spent = [0, 0, 3, 6]  # before the batch before
    assert rates[0] == rates[1] == pytest.approx([3e-3 * (1 - prompts / 11) for prompts in spent])


def test_the_panel_shows_how_much_is_spent(tiny_dir: Path, tmp_path: Path) -> None:
    text = said(make_plan(tiny_dir, tmp_path, "sft", "budget.prompts=6", "trainer.eval_size=0"))
    assert "step 1 · 50% of 6 prompts" in text
    assert "step 2 · 100% of 6 prompts" in text


@pytest.mark.parametrize("budget", ["reward_calls=24", "flops=1000"])
def test_what_was_sampled_before_the_first_batch_may_use_it_up(budget: str, tiny_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="are spent before the first batch"):
        run(make_plan(tiny_dir, tmp_path, "rft", f"budget.{budget}"))


def test_what_was_sampled_once_is_no_part_of_a_batch(tiny_dir: Path, tmp_path: Path) -> None:
    """A pool of 8 questions with 3 answers each is judged before, the answers of a batch again."""
    summary = run(make_plan(tiny_dir, tmp_path, "rft", "budget.reward_calls=25", "trainer.eval_size=0"))
    assert summary["budget"] == {"unit": "reward_calls", "amount": 25, "spent": 24 + 3, "largest_batch": 3}


@pytest.mark.parametrize(
    ("method", "words", "message"),
    [
        ("sft", "budget.generated_tokens=10", r"cannot be spent by data recorded · chain_sum: it draws no completion"),
        ("rft", "budget.generated_tokens=10", r"cannot be spent by data offline · chain_sum"),
        ("sft", "budget.reward_calls=10", r"budget\.reward_calls cannot be spent: reward implicit repeats"),
        ("grpo", "budget.flop=10", r"unknown key budget\.flop: did you mean budget\.flops"),
        ("grpo", "budget.prompts=1.5", r"budget\.prompts: expected an integer or null, got 1\.5"),
    ],
)
def test_a_budget_that_cannot_be_spent_is_refused(
    method: str, words: str, message: str, tiny_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        make_plan(tiny_dir, tmp_path, method, words)


def test_a_recipe_without_a_budget_keeps_its_name() -> None:
    config = compose(["recipe=grpo_math"]).config
    assert config["budget"]["flops"] is None
    from rlft.recipe import recipe_hash

    assert recipe_hash(config) == recipe_hash({key: value for key, value in config.items() if key != "budget"})
    assert json.dumps(config)

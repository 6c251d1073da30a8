"""What methods cost, and budgets."""

import json
from pathlib import Path
from typing import Any

import pytest
from compared import printed, run, seeds

from rlft.base import UserError
from rlft.comparison import compare


def charged(path: Path, totals: dict[str, Any], budget: dict[str, Any] | None = None) -> Path:
    """Gives a run other totals and a budget."""
    file = path / "summary.json"
    summary = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(summary | {"totals": totals, "budget": budget}), encoding="utf-8")
    return path


def given(spent: float, amount: float = 100.0) -> dict[str, Any]:
    return {"unit": "flops", "amount": amount, "spent": spent, "largest_batch": 20.0}


def test_bills_are_means_over_seeds_with_the_warm_start_in_them(tmp_path: Path) -> None:
    one, two = seeds(tmp_path, "grpo", [60, 70])
    charged(one, {"flops": 80.0, "flops_by_part": {"rollout": 50.0, "reward": 30.0}, "warm_start": {"flops": 20.0}})
    charged(two, {"flops": 120.0, "flops_by_part": {"rollout": 120.0}, "seconds": 3.0})
    other = charged(run(tmp_path, "sft", 50), {"flops": 40.0, "flops_by_part": {"forward": 40.0}})
    result = compare([one, two, other], tmp_path / "out")
    grpo, sft = result["methods"]
    assert grpo["flops"] == (80 + 20 + 120) / 2
    assert grpo["flops_by_part"] == {"rollout": 85, "reward": 15, "warm_start": 10}
    assert sum(grpo["flops_by_part"].values()) == grpo["flops"]
    assert (grpo["seconds"], sft["flops"]) == (None, 40)
    assert result["budget"] is None
    assert (
        "no equal budget: grpo took 2.8 times the FLOPs of sft; budget.flops=NUMBER gives all the same"
        in (result["notes"][-1])
    )
    assert "flops_by_part" not in (tmp_path / "out" / "compare.csv").read_text(encoding="utf-8")


def test_an_equal_budget_is_shown_and_one_that_was_not_spent_is_told(tmp_path: Path) -> None:
    full = charged(run(tmp_path, "grpo", 60), {"flops": 110.0}, given(110.0))
    early = charged(run(tmp_path, "sft", 50), {"flops": 70.0}, given(70.0))
    result = compare([full, early], tmp_path / "out")
    assert result["budget"] == {"unit": "flops", "amount": 100}
    assert result["notes"][-1] == "sft spent 70 of 100 flops (it ended early)"
    assert "budget of each run: 100 flops" in printed(result)
    assert "Budget: 100 flops for each run" in (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")


def test_runs_of_unequal_budgets_are_refused(tmp_path: Path) -> None:
    one = charged(run(tmp_path, "grpo", 60), {"flops": 110.0}, given(110.0))
    two = charged(run(tmp_path, "sft", 50), {"flops": 210.0}, given(210.0, 200.0))
    none = run(tmp_path, "dpo", 40)
    with pytest.raises(UserError, match=r"the runs differ in budget \(grpo: 100 flops, sft: 200 flops, dpo: none\)"):
        compare([one, two, none], tmp_path / "out")


def test_what_was_tuned_is_told_with_its_cost(tmp_path: Path) -> None:
    trials = [{"words": ["a=1"], "accuracy": 0.5, "n": 40, "path": "x", "flops": 2e12, "seconds": 1.0}] * 3
    tuning = [{"recipe": "grpo_math", "chosen": "a=1", "trials": trials}]
    result = compare([run(tmp_path, "grpo", 60), run(tmp_path, "sft", 50)], tmp_path / "out", tuning=tuning)
    assert "tuned: grpo_math takes a=1, the best of 3 on 40 validation questions; the trials took 6e+12" in (
        printed(result)
    )


def test_a_recipe_that_says_more_than_its_method_names_it(tmp_path: Path) -> None:
    online = run(tmp_path, "a", 60, method="rft", recipe="online_rft_math")
    other = run(tmp_path, "b", 50, method="dpo", recipe="grpo_math")  # recipe=grpo_math algorithm=dpo
    labels = [method["label"] for method in compare([online, other], tmp_path / "out")["methods"]]
    assert labels == ["online_rft_math", "dpo"]

"""Results of lm-evaluation-harness beside each other in a comparison."""

import json
from pathlib import Path
from typing import Any

import pytest
from compared import printed, run, seeds
from pages import COMPARISON, check

from rlft.base import UserError
from rlft.comparison import compare


def measured(run_dir: Path, name: str, tasks: dict[str, dict[str, Any]], n: int = 100) -> None:
    """Writes a run's results as the harness does."""
    results = {"results": tasks, "n-samples": {task: {"effective": n} for task in tasks}}
    (run_dir / f"harness_{name}.json").write_text(json.dumps(results), encoding="utf-8")


def acc(value: float, stderr: float = 0.05) -> dict[str, float]:
    return {"acc,none": value, "acc_stderr,none": stderr}


def test_metrics_stand_by_method_and_the_untrained_model_s_last(tmp_path: Path) -> None:
    sft, grpo, dpo = (run(tmp_path, name, right) for name, right in (("sft", 20), ("grpo", 60), ("dpo", 10)))
    measured(sft, "trained", {"arc": acc(0.25), "sums": {"exact_match,last|number": 0.5}})
    measured(sft, "base", {"arc": acc(0.2, 0.04)})
    measured(grpo, "trained", {"arc": acc(0.375)})
    result = compare([sft, grpo, dpo], tmp_path / "out")
    scores = {"value": 0.25, "stderr": 0.05, "n": 100, "path": str(sft)}
    arc, sums = sorted(result["harness"], key=lambda row: row["task"])
    assert (arc["metric"], arc["filter"], arc["scores"]["sft"]) == ("acc", "none", [scores])
    assert sums["scores"] == {"sft": [{"value": 0.5, "stderr": None, "n": 100, "path": str(sft)}]}
    assert json.loads((tmp_path / "out" / "compare.json").read_text(encoding="utf-8"))["harness"] == result["harness"]
    page = (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")
    assert "| task, metric | grpo | sft | untrained model |\n| --- | ---: | ---: | ---: |" in page
    assert "| arc acc | 0.375 ± 0.050 | 0.250 ± 0.050 | 0.200 ± 0.040 |" in page
    assert "| sums exact_match (last\\|number) | – | 0.500 | – |" in page
    text = check(tmp_path / "out" / "compare.html", COMPARISON).text["regressions"]
    assert "Other tasks" in text and "arc acc0.375 ± 0.0500.250 ± 0.0500.200 ± 0.040" in text
    assert "arc acc" in printed(result) and "0.200 ± 0.040" in printed(result)


def test_of_several_runs_the_mean_and_its_range_and_unlike_numbers_of_questions_are_told(tmp_path: Path) -> None:
    grpo, sft = seeds(tmp_path, "grpo", [60, 61, 62]), run(tmp_path, "sft", 20)
    for path, value in zip(grpo, (0.25, 0.5, 0.375), strict=True):
        measured(path, "trained", {"arc": acc(value)}, n=50 if value == 0.5 else 100)
    measured(sft, "trained", {"arc": acc(0.25)})
    result = compare([*grpo, sft], tmp_path / "out")
    assert [score["value"] for score in result["harness"][0]["scores"]["grpo"]] == [0.25, 0.5, 0.375]
    page = (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")
    assert "| arc acc | 0.375 [0.250, 0.500], n=50/100 | 0.250 ± 0.050, n=100 |" in page


def test_without_such_results_nothing_is_said_and_malformed_ones_are_named(tmp_path: Path) -> None:
    paths = [run(tmp_path, "sft", 20), run(tmp_path, "grpo", 60)]
    result = compare(paths, tmp_path / "out")
    assert result["harness"] == [] and "harness" not in printed(result)
    assert "harness" not in (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")
    (paths[0] / "harness_trained.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match=r"sft/harness_trained\.json: expected the results of lm_eval, found a list"):
        compare(paths, tmp_path / "out")

"""The table of finished runs: a line for a model that answers, another for one that scores, none for half a run."""

import json
from pathlib import Path
from typing import Any

import pytest
from results_table import main

TOTALS = {"generated_tokens": 31218, "trained_tokens": 4811}
ANSWERED = {
    "accuracy_before": 0.13, "accuracy_before_long": 0.135, "accuracy_after": 0.6, "difference": 0.465,
    "interval": [0.39, -0.0541], "cut_share_before": 0.01, "cut_share_after": 0.0,
}  # fmt: skip
SCORED = {"pair_accuracy": 0.8836, "pair_interval": [0.8288, 0.9225], "n": 730, "questions": 77}


def folder(path: Path, recipe: str, result: dict[str, Any] | None, status: str = "finished") -> str:
    path.mkdir()
    summary = {"recipe": recipe, "status": status, "eval": result, "totals": TOTALS}
    (path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return str(path)


def test_answers_and_scores_have_tables_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([folder(tmp_path / "a", "reward_model_math", SCORED), folder(tmp_path / "b", "dpo_math", ANSWERED)])
    answers, scores = capsys.readouterr().out.strip().split("\n\n")
    assert answers.splitlines()[2:] == [
        "| `dpo_math` | 13.0% / 13.5% | 60.0% | +46.5 [+39.0, -5.4] | 1% → 0% | 31,218 | 4,811 |"
    ]
    assert scores.splitlines()[2:] == [
        "| `reward_model_math` | 50.0% | 88.4% [82.9, 92.2] | 730 | 77 | 31,218 | 4,811 |"
    ]
    for table in (answers, scores):
        assert {line.count("|") for line in table.splitlines()} == {8}


def test_what_has_not_been_measured_is_no_row(tmp_path: Path) -> None:
    for path, words in (
        (folder(tmp_path / "half", "grpo_math", ANSWERED, "stopped"), "the run is stopped"),
        (folder(tmp_path / "unasked", "grpo_math", None), "asked no held-out question"),
        (str(tmp_path / "none"), "no run has finished there"),
    ):
        with pytest.raises(SystemExit, match=words):
            main([path])

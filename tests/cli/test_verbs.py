"""`ls`, `show`, `validate`, `eval` and `compare`: what they print and what `--json` gives."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlft.cli.main import main
from rlft.recipe import compose, freeze
from rlft.recipe.groups import options


def test_ls_lists_the_groups_and_the_user_s_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text("# @package _global_\n# My recipe.\n")
    assert main(["ls", "--json", "--config-dir", str(tmp_path)]) == 0
    listing = json.loads(capsys.readouterr().out)
    assert {row["name"]: row["what"] for row in listing["recipes"]}["mine"] == "My recipe."
    formulas = {row["name"]: row["what"] for row in listing["algorithms"]}
    assert set(formulas) == set(options("algorithm"))
    assert all(what.startswith("GC = ") for what in formulas.values()), formulas
    assert main(["ls", "data"]) == 0
    assert "  online      Completions of the policy as it is now." in capsys.readouterr().out


def test_ls_lists_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["ls", "runs"]) == 0
    assert "none" in capsys.readouterr().out
    config = compose(["recipe=grpo_math"]).config
    accuracy = {"accuracy_before": 0.1, "accuracy_after": 0.6, "difference": 0.5, "interval": [0.4, 0.6]}
    for name in ("a", "b", "c", "d"):
        freeze(config, tmp_path / "runs" / name)
    (tmp_path / "runs" / "a" / "summary.json").write_text(json.dumps({"status": "finished", "eval": accuracy}))
    early = {"accuracy_before": 0.1, "accuracy_after": None, "interval": None}
    (tmp_path / "runs" / "c" / "summary.json").write_text(json.dumps({"status": "stopped", "eval": early}))
    scores = {"status": "finished", "eval": {"pair_accuracy": 0.874, "pair_interval": [0.826, 0.91]}}
    (tmp_path / "runs" / "d" / "summary.json").write_text(json.dumps(scores))
    assert main(["ls", "runs"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  runs/a  finished 10.0% → 60.0%",
        "  runs/b  unfinished",
        "  runs/c  stopped",
        "  runs/d  finished 87.4% of pairs",
    ]


def test_show_prints_the_triple_and_a_recipe_that_yaml_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "recipe=dpo_math", "algorithm.beta=0.2"]) == 0
    out = capsys.readouterr().out
    assert "# data offline · chain_sum   reward math_answer   algorithm dpo: GC = ±β" in out
    assert yaml.safe_load(out) == compose(["recipe=dpo_math", "algorithm.beta=0.2"]).config


def test_a_method_in_a_package_outside_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "their_pkg.py").write_text(
        "from dataclasses import dataclass\nfrom rlft.algorithms import WeightedLikelihood\n\n"
        "@dataclass(frozen=True)\nclass Theirs(WeightedLikelihood):\n    scale: float = 2.0\n"
    )
    (tmp_path / "own" / "algorithm").mkdir(parents=True)
    (tmp_path / "own" / "algorithm" / "theirs.yaml").write_text(
        "_target_: their_pkg.Theirs\nreduction:\n  _target_: rlft.algorithms.SequenceMean\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    words = ["validate", "--config-dir", "own", "recipe=grpo_math", "algorithm=theirs", "algorithm.scale=3"]
    assert main(words) == 2
    assert "add --plugin their_pkg" in capsys.readouterr().err
    assert main([*words, "--plugin", "their_pkg"]) == 0
    out = capsys.readouterr().out
    assert f"algorithm/theirs.yaml read from {tmp_path / 'own' / 'algorithm' / 'theirs.yaml'}" in out
    assert "recipe grpo_math is sound" in out


def test_compare_hands_the_directories_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def compare(
        run_dirs: list[Path],
        out: Path,
        *,
        allow_mismatch: bool,
        baseline: str | None,
        failed: list[str],
        tuning: list[Any],
    ) -> dict[str, Any]:
        told = {"mismatch": allow_mismatch, "baseline": baseline, "failed": failed, "tuning": tuning}
        return {"runs": [str(path) for path in run_dirs], "out": str(out), **told}

    monkeypatch.setattr("rlft.comparison.compare", compare)
    monkeypatch.setattr("rlft.comparison.render", lambda result, console: console.print("table"))
    words = ["a", "b", "--out", str(tmp_path), "allow_mismatch=true", "baseline=b"]
    assert main(["compare", *words, "--json"]) == 0
    out, err = capsys.readouterr()
    told = {"mismatch": True, "baseline": "b", "failed": [], "tuning": []}
    assert json.loads(out) == {"runs": ["a", "b"], "out": str(tmp_path), **told}
    assert err == "table\n"

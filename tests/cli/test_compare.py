"""`rlft compare`: what is typed, and how recipes become runs and runs a comparison."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlft.cli.compare import read
from rlft.cli.main import main
from rlft.cli.options import Arguments, Usage


def test_recipes_and_seeds_are_read_apart_from_the_recipes_own_words() -> None:
    asked = read(["recipes=[sft_math,grpo_math]", "seeds=[4,9]", "trainer.steps=3", "allow_mismatch=true"], [])
    assert (asked.recipes, asked.seeds) == (["sft_math", "grpo_math"], [4, 9])
    assert (asked.mismatch, asked.words) == (True, ["trainer.steps=3"])
    assert read(["recipes=grpo_math"], []).seeds == [0, 1, 2] and read(["recipes=[a]", "seeds=5"], []).seeds == [
        *range(5)
    ]


@pytest.mark.parametrize(
    ("words", "names", "told"),
    [
        (["seeds=3"], ["a", "b"], "seeds=3: `rlft compare` takes run directories"),
        (["trainer.steps=3"], ["a", "b"], "or recipes="),
        (["recipes=[a]"], ["runs/x"], "either run directories or recipes"),
        (["recipes=[a]", "seeds=0"], [], "expected how many, e.g. seeds=3"),
        (["recipes=[a]", "seeds=1,2"], [], "which, e.g. seeds="),
        (["recipes=[a]", "seeds=[1,1]"], [], "which, e.g. seeds="),
        (["recipes=[a]", "seeds=few"], [], "expected how many"),
        (["recipes=[a]", "seeds=[1,01]"], [], "which, e.g. seeds="),
        (["recipes=[a]", "seed=1"], [], "seed=1: write recipes="),
        (["recipes=[a]", "++seed=1"], [], "++seed=1: write recipes="),
        (["recipes=[a]", "trainer.eval_size=0"], [], "asked held-out questions"),
        (["recipes=[a]", "trainer.stop_after=5"], [], "takes finished runs"),
        (["recipes=[a]", "output_dir=x"], [], "a directory of its own"),
        (["allow_mismatch=yes"], ["a", "b"], "expected true or false"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_runs(words: list[str], names: list[str], told: str) -> None:
    with pytest.raises(Usage) as error:
        read(words, names)
    assert told in str(error.value)


def test_recipes_are_run_by_a_sweep_and_what_failed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    swept: list[Arguments] = []

    def sweep(arguments: Arguments) -> tuple[int, dict[str, object]]:
        swept.append(arguments)
        rows = [{"overrides": name, "run_dir": f"runs/{name}", "status": "finished"} for name in alive]
        rows += [{"overrides": name, "run_dir": f"runs/{name}", "status": "failed", "error": "NaN"} for name in dead]
        return 1, {"status": "failed", "failed": len(dead), "runs": rows}

    def compare(run_dirs: list[Path], out: Path, *, allow_mismatch: bool, failed: list[str]) -> dict[str, Any]:
        return {"dirs": [str(path) for path in run_dirs], "mismatch": allow_mismatch, "failed": failed}

    monkeypatch.setattr("rlft.cli.sweep.sweep", sweep)
    monkeypatch.setattr("rlft.comparison.compare", compare)
    monkeypatch.setattr("rlft.comparison.render", lambda result, console: None)
    alive, dead = ["a", "c"], ["b"]
    words = ["recipes=[sft_math,grpo_math]", "seeds=2", "trainer.steps=3", "--plugin", "mine"]
    assert main(["compare", *words, "--out", str(tmp_path), "--json"]) == 1
    assert swept[0].overrides == ["recipe=sft_math,grpo_math", "seed=0,1", "trainer.steps=3"]
    assert swept[0].plugins == ("mine",)
    told = {"dirs": ["runs/a", "runs/c"], "mismatch": False, "failed": ["b (runs/b): NaN"]}
    assert json.loads(capsys.readouterr().out) == told
    alive, dead = ["a"], ["b"]
    assert main(["compare", *words, "--out", str(tmp_path)]) == 1  # a failure, not a mistake in what was typed
    assert "the same command runs these again: b (runs/b): NaN" in capsys.readouterr().err


def test_a_mistake_in_a_recipe_costs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "recipes=[sft_math,grpo_mth]", "--out", str(tmp_path / "out")]) == 2
    assert "grpo_math" in capsys.readouterr().err and not (tmp_path / "out").exists()

"""`rlft compare`: what is typed, and how recipes become runs and runs a comparison."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlft.cli.compare import read
from rlft.cli.main import main
from rlft.cli.options import Arguments, Usage
from rlft.cli.sweep import Job
from rlft.recipe import freeze


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
        (["recipes=[a]", "tune=trainer.learning_rate=1e-4"], [], "expected values to try"),
        (["hydra/launcher=joblib"], ["a", "b"], "hydra/launcher=joblib: `rlft compare` takes run directories"),
        (["allow_mismatch=yes"], ["a", "b"], "expected true or false"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_runs(words: list[str], names: list[str], told: str) -> None:
    with pytest.raises(Usage) as error:
        read(words, names)
    assert told in str(error.value)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stands in for what runs jobs and compares them; returns what they were given."""
    given = SimpleNamespace(jobs=[], launcher=[], compared={}, dead=set(), accuracy=lambda job: 0.5)

    def run_jobs(jobs: list[Job], arguments: Arguments, launcher: list[str]) -> tuple[int, dict[str, object]]:
        given.jobs += jobs
        given.launcher = launcher
        rows: list[dict[str, Any]] = []
        for job in jobs:
            row = {"overrides": job.varied, "run_dir": str(job.run_dir), "status": "finished"}
            if job.config["recipe"] in given.dead:
                row |= {"status": "failed", "error": "NaN"}
            else:
                freeze(job.config, job.run_dir)
                summary = {
                    "status": "finished", "run_dir": str(job.run_dir), "totals": {"flops": 1e12, "seconds": 3.0},
                    "eval": {"accuracy_after": given.accuracy(job), "n": 40},
                }  # fmt: skip
                (job.run_dir / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
            rows.append(row)
        return int(bool(given.dead)), {"runs": rows}

    def compare(run_dirs: list[Path], out: Path, **options: Any) -> dict[str, Any]:
        given.compared = {"dirs": run_dirs, **options}
        return {"compared": len(run_dirs)}

    monkeypatch.setattr("rlft.cli.sweep.run_jobs", run_jobs)
    monkeypatch.setattr("rlft.cli.tune.run_jobs", run_jobs)
    monkeypatch.setattr("rlft.comparison.compare", compare)
    monkeypatch.setattr("rlft.comparison.render", lambda result, console: None)
    monkeypatch.chdir(tmp_path)
    return given


def test_every_recipe_is_run_with_every_seed_and_what_failed_is_left_out(
    runs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["recipes=[sft_math,grpo_math]", "seeds=2", "budget.flops=1e14", "hydra/launcher=joblib"]
    assert main(["compare", *words, "--json"]) == 0
    assert [job.varied for job in runs.jobs] == [
        f"recipe={recipe} seed={seed}" for recipe in ("sft_math", "grpo_math") for seed in (0, 1)
    ]
    assert runs.launcher == ["hydra/launcher=joblib"]
    assert runs.compared == {
        "dirs": [job.run_dir for job in runs.jobs], "allow_mismatch": False, "failed": [], "tuning": []
    }  # fmt: skip
    assert json.loads(capsys.readouterr().out) == {"compared": 4}
    runs.dead = {"sft_math"}
    assert main(["compare", *words]) == 1
    told = runs.compared["failed"]
    assert len(told) == 2 and told[0].startswith("recipe=sft_math seed=0 (runs/sft_math-") and told[0].endswith("NaN")
    runs.dead = {"sft_math", "grpo_math"}
    assert main(["compare", *words]) == 1  # a failure, not a mistake in what was typed
    assert "the same command runs these again: recipe=sft_math seed=0" in capsys.readouterr().err


def test_every_recipe_is_tuned_on_questions_that_are_not_the_comparison_s(runs: Any) -> None:
    best = {"sft_math": 3e-4, "grpo_math": 1e-4}
    runs.accuracy = lambda job: 0.7 if job.config["trainer"]["learning_rate"] == best[job.config["recipe"]] else 0.4
    words = ["recipes=[sft_math,grpo_math]", "seeds=2", "tune=trainer.learning_rate=1e-4,3e-4", "trainer.steps=2"]
    assert main(["compare", *words]) == 0
    trials, final = runs.jobs[:4], runs.jobs[4:]
    assert {job.config["seed"] for job in trials} == {2}
    assert {job.config["data"]["evaluate_on"] for job in trials} == {"validation"}
    assert {job.config["data"]["evaluate_on"] for job in final} == {"held_out"}
    assert {job.config["data"]["validation_share"] for job in runs.jobs} == {0.05}
    assert [(job.config["recipe"], job.config["seed"]) for job in final] == [
        (recipe, seed) for recipe in best for seed in (0, 1)
    ]
    assert all(job.config["trainer"]["learning_rate"] == best[job.config["recipe"]] for job in final)
    told = runs.compared["tuning"][0]
    assert (told["recipe"], told["chosen"]) == ("sft_math", "trainer.learning_rate=0.0003")
    assert [(t["words"], t["accuracy"], t["n"], t["flops"]) for t in told["trials"]] == [
        (["trainer.learning_rate=0.0001"], 0.4, 40, 1e12), (["trainer.learning_rate=0.0003"], 0.7, 40, 1e12)
    ]  # fmt: skip
    # What a trial left that was interrupted before counts for nothing.
    for path in Path("runs").glob("sft_math-*/summary.json"):
        path.write_text(
            json.dumps(json.loads(path.read_text()) | {"status": "stopped", "eval": {"accuracy_after": None}})
        )
    runs.dead = {"sft_math"}
    assert main(["compare", *words]) == 1
    runs.dead = {"grpo_math"}
    assert main(["compare", *words, "seeds=3"]) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["recipes=[sft_math,grpo_gsm8k]", "data.train_file=x.jsonl"], "differ in model.path (sft_math: embedded"),
        (["recipes=[grpo_math]", "data.max_completion_tokens=8,16"], "differ in data.max_completion_tokens"),
        (["recipes=[sft_math,grpo_math]", "budget.generated_tokens=900"], "cannot be spent by data recorded"),
        (["recipes=[grpo_math]", "trainer.verifier=null", "reward=math_answer,reasoning_gym"], "differ in what judges"),
        (["recipes=[reward_model_math,sft_math]"], "rlft: reward_model_math: what scores completions answers no"),
    ],
)
def test_recipes_that_cannot_be_compared_are_refused_before_anything_runs(
    words: list[str], told: str, runs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *words]) == 2
    assert told in capsys.readouterr().err
    assert not runs.jobs
    if "differ" in told:
        assert main(["compare", *words, "allow_mismatch=true"]) == 0
        assert runs.jobs and runs.compared["allow_mismatch"]


def test_a_mistake_in_a_recipe_costs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "recipes=[sft_math,grpo_mth]", "--out", str(tmp_path / "out")]) == 2
    assert "grpo_math" in capsys.readouterr().err and not (tmp_path / "out").exists()

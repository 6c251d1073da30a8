"""`rlft compare`: what is typed, and how recipes become runs and runs a comparison."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlft.base import RunError
from rlft.cli.compare import read
from rlft.cli.dtype import measured
from rlft.cli.main import main
from rlft.cli.options import Arguments, Usage
from rlft.cli.sweep import Job
from rlft.recipe import compose, freeze, run_directory


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
        (["recipes=[a,b,a]"], [], "recipes=[a,b,a]: a is named twice"),
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
    given = SimpleNamespace(
        jobs=[], launcher=[], compared={}, dead=set(), accuracy=lambda job: 0.5, dtype="bfloat16"
    )  # fmt: skip

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

    monkeypatch.setattr("rlft.cli.dtype.measured", lambda cpu: given.dtype)
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
        "dirs": [job.run_dir for job in runs.jobs],
        "allow_mismatch": False, "baseline": None, "failed": [], "tuning": [],
    }  # fmt: skip
    assert json.loads(capsys.readouterr().out) == {"compared": 4}
    runs.dead = {"sft_math"}
    assert main(["compare", *words]) == 1
    told = runs.compared["failed"]
    assert len(told) == 2 and told[0].startswith("recipe=sft_math seed=0 (runs/sft_math-") and told[0].endswith("NaN")
    runs.dead = {"sft_math", "grpo_math"}
    assert main(["compare", *words]) == 1  # a failure, not a mistake in what was typed
    assert "the same command runs these again: recipe=sft_math seed=0" in capsys.readouterr().err


def test_a_baseline_is_known_before_anything_runs_and_by_a_run_that_ended(
    runs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", "recipes=[sft_math,grpo_math,ppo_math]", "seeds=1"]
    assert main([*words, "baseline=grpo_math"]) == 0
    assert runs.compared["baseline"] == str(runs.jobs[1].run_dir)
    runs.dead = {"grpo_math"}
    assert main([*words, "baseline=grpo_math"]) == 1
    assert "baseline=grpo_math: none of its runs came to its end" in capsys.readouterr().err
    assert main(["compare", "runs/a", "runs/b", "baseline=sft"]) == 0
    assert runs.compared["baseline"] == "sft"


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
    assert {job.words[-1] for job in runs.jobs} == {"model.dtype=bfloat16"}
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


def test_a_dtype_that_is_left_to_the_machine_is_one_for_all_runs(runs: Any) -> None:
    words = ["compare", "recipes=[sft_math,grpo_math]", "seeds=1"]
    assert main(words) == 0
    for job in runs.jobs:
        composed = compose(job.words).config
        assert composed["model"]["dtype"] == "bfloat16"
        # The directory is still that of the recipe as it was typed: what ran before is found.
        assert job.config["model"]["dtype"] == "auto" and job.run_dir == run_directory(job.config)
        assert run_directory(composed) == job.run_dir
    config = runs.jobs[1].config
    freeze(config | {"model": config["model"] | {"dtype": "float16"}}, runs.jobs[1].run_dir)
    assert main(words) == 0
    assert [job.words[-1] for job in runs.jobs] == [*["model.dtype=bfloat16"] * 2, *["model.dtype=float16"] * 2]


def test_a_dtype_that_is_named_or_measured_elsewhere_is_left_alone(runs: Any) -> None:
    runs.dtype = None
    words = ["compare", "recipes=[sft_math,grpo_math]", "seeds=1"]
    assert main([*words, "model.dtype=float64"]) == main([*words, "hydra/launcher=submitit_slurm"]) == 0
    assert {compose(job.words).config["model"]["dtype"] for job in runs.jobs} == {"float64", "auto"}


def test_the_dtype_is_measured_in_a_process_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measured(True) in ("float32", "bfloat16")
    monkeypatch.setattr("sys.executable", "false")
    with pytest.raises(RunError, match=r"type model\.dtype=float32, or bfloat16"):
        measured(False)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["recipes=[sft_math,grpo_gsm8k]", "data.train_file=x.jsonl"], "differ in model.path (sft_math: embedded"),
        (["recipes=[grpo_math]", "data.max_completion_tokens=8,16"], "differ in data.max_completion_tokens"),
        (["recipes=[sft_math,grpo_math]", "budget.generated_tokens=900"], "cannot be spent by data recorded"),
        (["recipes=[grpo_math]", "trainer.verifier=null", "reward=math_answer,reasoning_gym"], "differ in what judges"),
        (["recipes=[grpo_math]", "data.max_prompt_tokens=64,128"], "differ in data.max_prompt_tokens"),
        (["recipes=[grpo_math]", "data.task_size=300,400"], "differ in data.task_size (grpo_math data.task_size=300"),
        (["recipes=[grpo_math]", "model.dtype=float32,bfloat16"], "differ in model.dtype"),
        (["recipes=[grpo_math]", "seeds=1"], "grpo_math with one seed is one run, and a comparison takes two or more"),
        (
            ["recipes=[sft_math,grpo_math]", "baseline=sft"],
            "baseline=sft: expected one of baseline=sft_math, baseline=grpo",
        ),
        (
            ["recipes=[grpo_math]", "algorithm.beta=0,0.04", "baseline=grpo_math"],
            "expected one of baseline='grpo_math algorithm.beta=0', baseline='grpo_math algorithm.beta=0.04'",
        ),
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


def test_settings_that_hold_out_the_same_questions_may_differ(runs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"q": f"What is {n} + 1?", "a": str(n + 1), "b": str(n)} for n in range(40)]
    Path("sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = ["data.task=null", "data.train_file=sums.jsonl", "data.question_pattern=null", "data.held_out_share=0.5"]
    words = ["compare", "recipes=[grpo_math]", "seeds=1", *data]
    same, other = "{question: q, answer: a},{prompt: q, answer: a}", "{question: q, answer: a},{question: q, answer: b}"
    assert main([*words, f"data.columns={same}"]) == 0
    assert len(runs.jobs) == 2
    assert main([*words, f"data.columns={other}"]) == 2
    assert "the recipes differ in data.columns (" in capsys.readouterr().err and len(runs.jobs) == 2


def test_values_that_tuning_chose_are_compared_too(runs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    best = {"sft_math": 8, "grpo_math": 24}
    runs.accuracy = lambda job: float(job.config["data"]["max_completion_tokens"] == best[job.config["recipe"]])
    words = ["recipes=[sft_math,grpo_math]", "seeds=1", "tune=data.max_completion_tokens=8,24"]
    assert main(["compare", *words]) == 2
    assert "differ in data.max_completion_tokens (sft_math data.max" in capsys.readouterr().err
    assert len(runs.jobs) == 4, "the trials alone"


def test_a_mistake_in_a_recipe_costs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "recipes=[sft_math,grpo_mth]", "--out", str(tmp_path / "out")]) == 2
    assert "grpo_math" in capsys.readouterr().err and not (tmp_path / "out").exists()

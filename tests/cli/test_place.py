"""Where a run may write: not over somebody else's files, nor in the directory of another recipe's run."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlft.cli.main import main
from rlft.recipe import compose, freeze, load_plan

WORDS = ["recipe=grpo_math", "output_dir=here"]


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stands in for training, here and in commands that a sweep starts; returns what was started."""
    calls: list[Any] = []

    def train(plan: Any, **_: Any) -> dict[str, Any]:
        calls.append(plan)
        return {"status": "stopped", "steps": plan.trainer.stop_after}

    monkeypatch.setattr("rlft.train.train", train)
    monkeypatch.setattr("subprocess.Popen", lambda command, **_: calls.append(command))
    monkeypatch.chdir(tmp_path)
    return calls


def fill(files: dict[str, str]) -> dict[str, str]:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    return files


def there() -> dict[str, str]:
    return {str(path): path.read_text(encoding="utf-8") for path in Path().rglob("*") if path.is_file()}


def leave(folder: str, status: str | None, *words: str) -> None:
    """Leaves what a run of a recipe leaves: its recipe, and a summary or else a checkpoint."""
    freeze(compose(["recipe=grpo_math", *words]).config, Path(folder))
    if status is None:
        (Path(folder) / "checkpoints" / "step-000001").mkdir(parents=True)
    else:
        (Path(folder) / "summary.json").write_text(json.dumps({"status": status, "eval": None}), encoding="utf-8")


@pytest.mark.parametrize("verb", [["train"], ["train", "-m", "hydra/launcher=joblib"]], ids=["run", "sweep"])
@pytest.mark.parametrize(
    "files",
    [
        {"here/checkpoints/epoch-1.pt": "x", "here/README.md": "mine"},
        {"here/adapter/weights": "x", "here/config.yaml": "model: {size: 3}\ntrainer: {steps: 2}\n"},
        {"here/config.yaml": "a: [", "here/log.txt": "theirs"},
        {"here/eval_set.jsonl": "{}"},
        {"here": "a file"},
    ],
    ids=lambda files: " ".join(files),
)
def test_somebody_elses_files_are_left_as_they_are(
    files: dict[str, str], verb: list[str], started: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    fill(files)
    own = WORDS if verb == ["train"] else ["recipe=grpo_math", "output_dir=here,there"]
    assert main([*verb, *own]) == 2
    error = capsys.readouterr().err
    assert "output_dir=here " in error and "e.g. output_dir=here" in error
    assert there() == files and started == []


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"here/log.txt": "of a sweep", "here/slurm-1.out": "", "here/train.log": ""},
        {"here/.hydra/config.yaml": "", "here/.partial-1": "killed while its recipe was written"},
        {"here/eval_base.json": "{}", "here/eval_base.jsonl": "", "here/eval_base_samples.jsonl": ""},
        {"here/trackers/rlft/events": ""},
    ],
    ids=lambda files: " ".join(files),
)
def test_logs_and_what_was_measured_lock_no_run_out(files: dict[str, str], started: list[Any]) -> None:
    Path("here").mkdir()
    fill(files)
    assert main(["train", *WORDS, "trainer.stop_after=3"]) == 0
    assert len(started) == 1 and load_plan(Path("here")).recipe == "grpo_math"


def test_a_run_killed_before_its_first_checkpoint_starts_again(started: list[Any]) -> None:
    leave("here", "stopped", "seed=3")
    fill({"here/metrics.jsonl": "", "here/checkpoints/.partial-1/state.json": ""})
    assert main(["train", *WORDS, "trainer.stop_after=3"]) == 0
    assert started[0].seed == 0 and load_plan(Path("here")).seed == 0


@pytest.mark.parametrize("status", ["finished", None])
def test_a_sweep_takes_no_other_recipes_run_for_its_own(
    status: str | None, started: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    leave("a", "finished", "algorithm.beta=0.5")
    leave("b", status, "seed=1")
    assert main(["train", "-m", "recipe=grpo_math", "algorithm.beta=0.5", "output_dir=a,b"]) == 2
    assert "b holds a run of another recipe, which differs in algorithm.beta, seed: give" in capsys.readouterr().err
    assert started == []
    assert main(["train", "-m", "recipe=grpo_math", "algorithm.beta=0.5", "output_dir=a,a", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert (row["run_dir"], row["status"], row["skipped"]) == ("a", "finished", True) and started == []

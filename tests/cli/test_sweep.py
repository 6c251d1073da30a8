"""`rlft train -m`: which jobs there are, that one failure stops none, and what the end says."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlft.cli.main import main
from rlft.cli.options import Arguments
from rlft.cli.sweep import Job, _run, plan_jobs
from rlft.recipe import compose, freeze, overrides

EVAL = {"n": 200, "accuracy_before": 0.1, "accuracy_after": 0.6, "difference": 0.5, "interval": [0.42, 0.58]}


def test_the_jobs_are_the_product() -> None:
    jobs = overrides.sweep(["recipe=grpo_math", "algorithm.beta=0,0.04", "seed=range(0,2)"])
    assert jobs == [
        ["recipe=grpo_math", f"algorithm.beta={beta}", f"seed={seed}"] for beta in ("0", "0.04") for seed in (0, 1)
    ]


def test_every_job_has_a_directory(tmp_path: Path) -> None:
    words = ["recipe=grpo_math", "algorithm.beta=0,0.04", f"output_dir={tmp_path}/all runs"]
    jobs = plan_jobs(Arguments(words, []), words)
    assert [job.varied for job in jobs] == ["algorithm.beta=0", "algorithm.beta=0.04"]
    assert len({job.run_dir for job in jobs}) == 2
    assert all(job.run_dir.parent == tmp_path / "all runs" for job in jobs)
    again = plan_jobs(Arguments(jobs[0].words, []), jobs[0].words)
    assert again[0].run_dir == jobs[0].run_dir


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stands in for the commands that a sweep starts: β=0.5 fails, all others finish."""
    commands: list[list[str]] = []
    config = compose(["recipe=grpo_math", "trainer.steps=2"]).config

    def start(command: list[str], **_: Any) -> Any:
        commands.append(command)
        run_dir = next(word for word in command if word.startswith("output_dir=")).partition("=")[2].strip('"')
        if "algorithm.beta=0.5" in command:
            return SimpleNamespace(returncode=1, stdout=json.dumps({"status": "error", "error": "gradient is nan"}))
        summary = {"status": "finished", "run_dir": run_dir, "eval": EVAL}
        beta = next(float(word.partition("=")[2]) for word in command if word.startswith("algorithm.beta="))
        freeze(config | {"algorithm": {**config["algorithm"], "beta": beta}}, Path(run_dir))
        (Path(run_dir) / "summary.json").write_text(json.dumps(summary))
        return SimpleNamespace(returncode=0, stdout=json.dumps(summary))

    def popen(command: list[str], **options: Any) -> Any:
        ended = start(command, **options)
        return SimpleNamespace(returncode=ended.returncode, communicate=lambda: (ended.stdout, None))

    monkeypatch.setattr("subprocess.Popen", popen)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return commands


def test_a_failure_stops_nothing_and_what_finished_is_not_run_again(
    shell: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "-m", "recipe=grpo_math", "algorithm.beta=0.5,0,0.04", "trainer.steps=2"]
    assert main([*words, "--json"]) == 1
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert [row["status"] for row in result["runs"]] == ["failed", "finished", "finished"]
    assert result["failed"] == 1
    assert result["runs"][0]["error"] == "gradient is nan"
    assert result["runs"][1]["eval"] == EVAL
    assert all(command[1:4] == ["-m", "rlft", "train"] and "--json" in command for command in shell)
    assert "algorithm.beta=0.04" in err and "60.0%" in err and "gradient is nan" in err
    assert len(shell) == 3

    assert main(words) == 1
    assert len(shell) == 4  # only the one that failed
    assert "finished before" in capsys.readouterr().out


@pytest.mark.parametrize("as_json", [False, True])
def test_in_a_launcher_s_process_too_stdout_is_for_the_json(
    as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rlft.cli.sweep.finished", lambda _: {"eval": None})
    monkeypatch.setattr("rlft.cli.sweep.warn_of_changed_files", lambda *_: print("changed"))
    row = _run(Job([], "seed=1", Path("run"), {}, "log_probs", "[1/2]", apart=True), Arguments([], [], json=as_json))
    assert row == {"overrides": "seed=1", "run_dir": "run", "status": "finished", "skipped": True, "eval": None}
    out, err = capsys.readouterr()
    assert (err if as_json else out) == "[1/2] seed=1 · run\nchanged\n"
    assert (out if as_json else err) == ""


def test_a_mistake_in_one_job_is_found_before_any_runs(
    shell: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "-m", "recipe=grpo_math", "trainer.steps=2,many"]) == 2
    assert "expected an integer, got 'many'" in capsys.readouterr().err
    assert main(["train", "-m", "recipe=grpo_math", "seed=interval(0,1)"]) == 2
    assert "sweeps are lists" in capsys.readouterr().err
    assert main(["train", "-m", "recipe=grpo_math", "seed=0,1", "output_dir=a,b", "trainer.steps=2,3"]) == 2
    assert "would both write to a" in capsys.readouterr().err
    assert shell == []


def test_a_job_that_was_interrupted_is_resumed(shell: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlft.cli.sweep.has_checkpoint", lambda folder: True)
    commands: list[list[str]] = []

    def popen(command: list[str], **_: Any) -> Any:
        commands.append(command)
        stopped = {"status": "stopped", "eval": {"accuracy_before": 0.1, "interval": None}}
        return SimpleNamespace(returncode=0, communicate=lambda: (json.dumps(stopped), None))

    monkeypatch.setattr("subprocess.Popen", popen)
    assert main(["train", "-m", "recipe=grpo_math", "algorithm.beta=0,0.04", "--config-dir", "."]) == 0
    assert [command[1:4] for command in commands] == [["-m", "rlft", "resume"]] * 2
    assert all("--config-dir" not in command for command in commands)  # the recipe is frozen

"""`rlft train` and `rlft resume`: what is run, where, and what is not run again."""

import json
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlft.base import RunError
from rlft.cli.main import main
from rlft.recipe import load_plan

EVAL = {
    "n": 200,
    "accuracy_before": 0.1,
    "accuracy_before_long": 0.15,
    "accuracy_after": 0.6,
    "difference": 0.45,
    "interval": [0.37, 0.53],
    "cut_share_before": 0.5,
    "cut_share_after": 0.01,
    "long_tokens": 128,
}
TOTALS = {"generated_tokens": 12345, "trained_tokens": 67890, "seconds": 61.4}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stands in for training: notes what it was asked for, and leaves what a run leaves."""
    calls: list[dict[str, Any]] = []

    def train(plan: Any, resume: bool = False, trust_remote_code: bool = False) -> dict[str, Any]:
        calls.append({"plan": plan, "resume": resume, "trust": trust_remote_code})
        stopped = 0 < plan.trainer.stop_after < plan.trainer.steps
        return leave(plan.run_dir, "stopped" if stopped else "finished", plan.trainer.stop_after)

    monkeypatch.setattr("rlft.train.train", train)
    monkeypatch.chdir(tmp_path)
    return calls


def leave(run_dir: Path, status: str, steps: int = 3) -> dict[str, Any]:
    summary = {
        "status": status,
        "steps": steps,
        "run_dir": str(run_dir),
        "eval": EVAL,
        "totals": TOTALS,
        "peak_memory_bytes": 2_500_000_000,
    }
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "summary.json").write_text(json.dumps(summary))
    return summary


def test_a_run_starts_under_its_triple(runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "recipe=grpo_math", "output_dir=here", "--trust-remote-code"]) == 0
    head = capsys.readouterr().out.splitlines()
    assert head[0].startswith("data online · chain_sum   reward math_answer   algorithm grpo: GC = ")
    assert head[1] == "recipe grpo_math · run directory here"
    assert (runs[0]["plan"].run_dir, runs[0]["resume"], runs[0]["trust"]) == (Path("here"), False, True)


def test_a_finished_run_is_shown_and_not_run_again(
    runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "recipe=grpo_math"]
    assert main(words) == 0
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["eval"] == EVAL
    assert "nothing is run again" in err
    assert "10.0% (15.0% at 128 tokens) → 60.0%: +45.0 points [+37.0, +53.0] over the better of the two" in err
    assert "cut off 50.0% → 1.0%\n12,345 tokens generated, 67,890 trained, 61 s of training, 2.50 GB at most" in err
    assert len(runs) == 1
    assert main([*words, "seed=1"]) == 0
    assert len(runs) == 2


def test_an_unfinished_run_is_to_be_resumed(
    runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlft.train.checkpoint.latest", lambda folder: folder / "checkpoints" / "3")
    assert main(["train", "recipe=grpo_math", "output_dir=here"]) == 2
    assert "go on with `rlft resume here`" in capsys.readouterr().err
    assert runs == []


def test_resume_goes_on_to_the_end_by_the_frozen_recipe(
    runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "recipe=grpo_math", "output_dir=here", "algorithm.beta=0.5", "trainer.stop_after=3"]) == 0
    assert "stopped; go on with `rlft resume here`" in capsys.readouterr().out
    from rlft.recipe import freeze

    freeze(runs[0]["plan"].config, Path("here"))
    assert main(["resume", "here", "trainer.stop_after=4"]) == 0
    assert main(["resume", "here"]) == 0
    assert [call["plan"].trainer.stop_after for call in runs] == [3, 4, 0]
    assert [call["resume"] for call in runs] == [False, True, True]
    assert runs[2]["plan"].algorithm.beta == 0.5
    assert main(["resume", "here"]) == 0
    assert len(runs) == 3


def test_a_run_leaves_its_page_when_it_ends_and_when_it_stops(runs: list[dict[str, Any]]) -> None:
    assert main(["train", "recipe=grpo_math", "output_dir=whole"]) == 0
    assert "finished after" in Path("whole/report.html").read_text(encoding="utf-8")
    assert main(["train", "recipe=grpo_math", "output_dir=part", "trainer.stop_after=2"]) == 0
    assert "rlft resume part" in Path("part/report.html").read_text(encoding="utf-8")
    assert main(["resume", "part"]) == 0
    assert "finished after" in Path("part/report.html").read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_does_not_fail_the_run(
    runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(run_dir: Path) -> None:
        raise ValueError("no room")

    monkeypatch.setattr("rlft.report.write_report", broken)
    assert main(["train", "recipe=grpo_math", "output_dir=here", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["status"] == "finished"
    assert "report.html was not written (ValueError: no room); `rlft report here` tries again\n" in err


def test_an_interruption_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        monkeypatch.setattr("rlft.train.checkpoint.latest", lambda folder: folder)
        raise KeyboardInterrupt

    monkeypatch.setattr("rlft.train.train", interrupted)
    assert main(["train", "recipe=grpo_math", f"output_dir={tmp_path / 'run'}"]) == 130
    assert capsys.readouterr().err == f"interrupted; go on with `rlft resume {tmp_path / 'run'}`\n"


@pytest.mark.parametrize("end", ["stopped", "interrupted"])
def test_the_command_to_go_on_with_may_be_pasted(
    end: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It allows what this one did: without `--plugin` a recipe that names its classes is refused."""

    def train(plan: Any, **_: Any) -> dict[str, Any]:
        (plan.run_dir / "checkpoints" / "step-000001").mkdir(parents=True)
        if end == "interrupted":
            raise KeyboardInterrupt
        return {"status": "stopped", "steps": 1}

    monkeypatch.setattr("rlft.train.train", train)
    monkeypatch.chdir(tmp_path)
    options = ["--plugin", "json", "--trust-remote-code"]
    words = ["train", "recipe=grpo_math", "output_dir=a run", "trainer.stop_after=1"]
    assert main([*words, *options]) == (130 if end == "interrupted" else 0)
    texts = [capsys.readouterr()]
    assert main([*words, *options]) == 2, "it is there and unfinished"
    texts.append(capsys.readouterr())
    for text in texts:
        (command,) = re.findall(r"go on with `(.*?)`", text.out + text.err)
        assert shlex.split(command) == ["rlft", "resume", "a run", *options]


def test_several_processes_read_the_frozen_recipe(runs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    status = 0

    def popen(command: list[str], stdout: Any) -> Any:
        started.append(command)
        assert load_plan(Path("here")).config["trainer"]["processes"] == 2
        if status == 0:
            leave(Path("here"), "finished")
        return SimpleNamespace(wait=lambda: status)

    monkeypatch.setattr("subprocess.Popen", popen)
    words = ["train", "recipe=grpo_math", "output_dir=here", "trainer.processes=2", "trainer.stop_after=3"]
    assert main([*words, "--plugin", "json"]) == 0
    assert started[0][:3] == [sys.executable, "-m", "torch.distributed.run"]
    tail = ["rlft", "resume", "here", "trainer.stop_after=3", "--worker", "fresh", "--plugin", "json"]
    assert started[0][started[0].index("rlft") :] == tail
    assert runs == []

    monkeypatch.setenv("WORLD_SIZE", "2")  # what such a process finds
    Path("here/summary.json").unlink()
    assert main(tail[1:]) == 0
    assert (runs[0]["resume"], runs[0]["plan"].trainer.stop_after) == (False, 3)
    monkeypatch.delenv("WORLD_SIZE")

    Path("here/summary.json").unlink()
    status = 1
    assert main(words) == 1


def test_processes_that_fail_fail_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rlft.cli.launch import launch
    from rlft.cli.options import Arguments
    from rlft.recipe import build, compose

    plan = build(compose(["recipe=grpo_math", "trainer.processes=2"]).config, tmp_path)
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: SimpleNamespace(wait=lambda: 3))
    with pytest.raises(RunError, match="ended with status 3"):
        launch(plan, Arguments([], []), resume=False)


def test_a_directory_is_one_recipes(runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "recipe=grpo_math", "output_dir=here"]) == 0
    assert main(["train", "recipe=grpo_math", "output_dir=here", "trainer.stop_after=2"]) == 0
    assert len(runs) == 1
    capsys.readouterr()
    assert main(["train", "recipe=grpo_math", "output_dir=here", "algorithm.beta=0.5"]) == 2
    assert "holds a run of another recipe, which differs in algorithm.beta" in capsys.readouterr().err


def test_what_was_interrupted_ends_with_130(runs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(plan: Any, **_: Any) -> dict[str, Any]:
        return {"status": "stopped", "steps": 3}

    monkeypatch.setattr("rlft.train.train", stopped)
    assert main(["train", "recipe=grpo_math", "output_dir=a"]) == 130
    assert main(["train", "recipe=grpo_math", "output_dir=b", "trainer.stop_after=3"]) == 0
    assert load_plan(Path("a")).recipe == "grpo_math"  # frozen before the run, so that a kill in set-up can be resumed

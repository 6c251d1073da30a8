"""Commands one after another on the tiny model, as a person would type them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pages import COMPARISON, REPORT, check
from safetensors.torch import load_file

from rlft.cli.main import main

Rlft = Callable[..., dict[str, Any]]
FORMAT = ["reward=format", "reward.match=search", "reward.pattern=u"]  # random weights answer nothing right


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text(encoding="utf-8").split("\n") if text]


def test_a_sweep_and_its_comparison(
    rlft: Rlft, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["recipe=grpo_math", "algorithm.beta=0,0.04", *FORMAT, *tiny]
    swept = rlft("train", "-m", *words)
    assert (swept["status"], [run["overrides"] for run in swept["runs"]]) == (
        "finished", ["algorithm.beta=0", "algorithm.beta=0.04"],
    )  # fmt: skip
    folders = [run["run_dir"] for run in swept["runs"]]
    assert len(set(folders)) == 2
    kl = [read(tmp_path / folder / "metrics.jsonl")[1]["kl"] for folder in folders]
    assert kl[0] is None and kl[1] > 0

    assert main(["train", "-m", *words]) == 0
    again = capsys.readouterr().out
    assert again.count("finished before") == 2 and "algorithm.beta=0.04" in again

    compared = rlft("compare", *folders, "--out", "both")
    assert {method["n"] for method in compared["methods"]} == {5}
    assert len(compared["pairs"]) == 1 and compared["pairs"][0]["low"] <= compared["pairs"][0]["high"]
    assert main(["compare", *folders, "--out", "both"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in ("held-out accuracy", "generated tokens", "trained tokens", "time", "beta=0.04", "no winner is named"):
        assert part in text
    assert (tmp_path / "both" / "compare.md").is_file()

    pooled = rlft("compare", "recipes=[grpo_math]", "seeds=2", "algorithm.beta=0", *FORMAT, *tiny, "--out", "seeds")
    (method,) = pooled["methods"]
    assert (method["seeds"], method["paths"][0]) == ([0, 1], folders[0])  # seed 0 had finished before
    assert method["low"] <= method["accuracy"] <= method["high"] and pooled["failed"] == []
    page = check(tmp_path / "seeds" / "compare.html", COMPARISON)
    assert "grpo before and after training" in page.text["flips"] and "Entropy" in page.text["regressions"]
    assert page.text["curves"].count("FLOPs spent") == 2


def test_train_stop_resume_eval(rlft: Rlft, tiny: list[str], tmp_path: Path) -> None:
    words = ["recipe=grpo_math", *FORMAT, *tiny, "output_dir=run"]
    assert rlft("train", *words, "trainer.stop_after=1")["status"] == "stopped"
    assert "stopped after 1 of 2 steps" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    finished = rlft("resume", "run")
    page = check(tmp_path / "run" / "report.html", REPORT)
    assert "finished after 2 of 2 steps" in page.source and "step 2: 9 completions of 3 prompts" in page.text["samples"]
    assert "Gradient norm" in page.text["convergence"] and "Signs of the coefficient" in page.text["coefficients"]
    assert rlft("report", "run") == {"report": "run/report.html"}
    assert (finished["status"], finished["steps"]) == ("finished", 2)
    measured = rlft("eval", "run")
    assert measured["base"]["accuracy"] == finished["eval"]["accuracy_before"]
    assert measured["trained"]["accuracy"] == finished["eval"]["accuracy_after"]
    assert [a["text"] for a in read(tmp_path / "run" / "eval_trained.jsonl")] == [
        a["text"] for a in read(tmp_path / "run" / "eval_after.jsonl")
    ]
    assert rlft("train", *words) == finished, "a finished run is not run again"


def test_all_weights_are_trained_and_measured_on_demand(rlft: Rlft, tiny: list[str], tmp_path: Path) -> None:
    words = ["recipe=grpo_math", *FORMAT, *tiny, "model.adapter=none", "output_dir=run"]
    summary = rlft("train", *words)
    assert not (tmp_path / "run" / "adapter").exists()
    trained, base = (
        load_file(Path(folder) / "model.safetensors") for folder in ("run/model", tiny[-1].removeprefix("model.path="))
    )
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(trained[name], base[name])
    assert rlft("eval", "run")["trained"]["accuracy"] == summary["eval"]["accuracy_after"]


def test_two_processes_take_the_steps_of_one(rlft: Rlft, tiny: list[str], tmp_path: Path) -> None:
    words = ["recipe=grpo_mixed", "data.resample=1", *FORMAT, *tiny]  # the curriculum learns from what both have scored
    rlft("train", *words, "output_dir=run1")
    done = subprocess.run(
        [sys.executable, "-m", "rlft", "train", *words, "output_dir=run2", "trainer.processes=2", "--json"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["status"] == "finished"
    assert [(s["prompt_id"], s["text"]) for s in read(tmp_path / "run1" / "samples.jsonl")] == [
        (s["prompt_id"], s["text"]) for s in read(tmp_path / "run2" / "samples.jsonl")
    ]
    for one, two in zip(*(read(tmp_path / f"run{n}" / "metrics.jsonl") for n in (1, 2)), strict=True):
        for key in ("reward/mean", "kl", "entropy", "gc/mean_abs", "grad_norm", "tokens/generated", "tokens/trained"):
            assert two[key] == pytest.approx(one[key], rel=1e-3, abs=1e-6), key
    one, two = (json.loads((tmp_path / f"run{n}" / "summary.json").read_text(encoding="utf-8")) for n in (1, 2))
    own = {"seconds": 0, "flops": 0, "flops_by_part": 0}
    assert one["totals"] | own == two["totals"] | own
    # What all prompts begin with runs in each process.
    assert one["totals"]["flops"] < two["totals"]["flops"] < 1.05 * one["totals"]["flops"]

"""The page on the adaptive curriculum: its arithmetic on hand-made runs, and that only what is missing is run."""

import json
import sys
from pathlib import Path
from typing import Any

import compared
import pytest
from curriculum import main, page, run, warm

from rlft.comparison.arms import Arm
from rlft.comparison.record import read_record
from rlft.recipe import compose

UNIFORM = {"none": [0.5, 0.75, 1.0], "adaptive": [0.25, 0.25, 0.25]}


def write(folder: Path, arm: str, seed: int, right: int) -> Path:
    """A run of three steps of four questions, on 50 held-out questions of one digit and as many of two."""
    path = compared.run(folder, f"{arm}-{seed}", right, method="grpo", recipe="grpo_mixed", seed=seed)
    with (path / "config.yaml").open("a", encoding="utf-8") as file:
        file.write("trainer: {prompts_per_step: 4}\ndata: {samples_per_prompt: 8}\n")
        file.write("curriculum: {measure: 16, pool: 480}\n" if arm == "adaptive" else "curriculum: {}\n")
    lines = [{"group/all_right": 0.25, "group/all_wrong": u - 0.25, "reward/mean": 0.5 - u / 4} for u in UNIFORM[arm]]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    answers = [json.loads(row) for row in (path / "eval_after.jsonl").read_text("utf-8").splitlines()]
    texts = [f"{n} + {n} =" for n in (*[3] * 50, *[42] * 50)]
    rows = [answer | {"question": text} for answer, text in zip(answers, texts, strict=True)]
    (path / "eval_after.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    summary = json.loads((path / "summary.json").read_text("utf-8"))
    summary["totals"]["flops"] = 2e12 if arm == "none" else 3e12
    summary["steps"] = 3
    (path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return path


def arms(folder: Path, seeds: int) -> dict[str, Arm]:
    """None: 60 of 100 right whatever the seed; adaptive: 80."""
    runs = {arm: [write(folder, arm, seed, n) for seed in range(seeds)] for arm, n in (("none", 60), ("adaptive", 80))}
    return {arm: Arm(tuple(record for path in paths if (record := read_record(path)))) for arm, paths in runs.items()}


def test_the_page_says_what_the_runs_say(tmp_path: Path) -> None:
    text = page(arms(tmp_path, 3), 12, "python it")
    assert (
        "| `none` | 75.0% | 75.0% | 75.0% | 75.0% |" in text
        and "| `adaptive` | 25.0% | 25.0% | 25.0% | 25.0% |" in text
    )
    assert "With the curriculum it is 0.33 times that without." in text
    assert "sums of two numbers of 1 to 2 digits" in text and "16 answers to each of 480 questions" in text
    assert "| `none` | 50% → 75% → 100% | 0.38 → 0.31 → 0.25 |" in text
    (before,) = [line for line in text.split("\n") if line.startswith("| before ")]
    assert before.startswith("| before | 20.0 [") and before.endswith("] | 40% | 0% |")
    (after,) = [line for line in text.split("\n") if line.startswith("| `adaptive` | 80.0 [")]
    assert after.endswith("] | 100% | 60% |"), "the first 50 questions have one digit"
    assert (
        "`adaptive` less `none`: 20.0 [" in text
        and "which does not hold 0. The interval covers the draw of the" in text
    )
    assert "| `adaptive` | 12,345 | 6,789 | 3.00e+12 |" in text


def test_of_one_seed_no_winner_is_named(tmp_path: Path) -> None:
    assert "With 1 seed the interval is that of the questions alone" in page(arms(tmp_path, 1), 12, "python it")


def test_what_has_finished_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    called: list[list[str]] = []

    def train(words: list[str], **options: Any) -> None:
        called.append(words[3:])
        if words[-1] == f"output_dir={tmp_path / 'warm-7'}":
            (tmp_path / "warm-7").mkdir()
            (tmp_path / "warm-7" / "summary.json").touch()
        else:
            write(tmp_path, "none", 1, 60)

    monkeypatch.setattr("subprocess.run", train)
    arms(tmp_path, 1)
    assert run(tmp_path, "none", 0, []).summary["seed"] == 0 and not called
    assert run(tmp_path, "none", 1, ["trainer.steps=3"]).summary["seed"] == 1
    assert called[0][0] == "train" and {"curriculum=none", "seed=1", "trainer.steps=3"} <= set(called[0])
    called.clear()
    monkeypatch.setattr(sys, "argv", ["curriculum.py", str(tmp_path), "--seeds", "0", "--warm", "7"])
    for _ in range(2):
        main()
        text = capsys.readouterr().out
        assert "python scripts/curriculum.py RUNS --seeds 0 --steps 24 --warm 7" in text and "after 7 steps of" in text
        assert len(called) == 1 and "algorithm=sft" in called[0]


def test_the_start_answers_the_recipes_own_questions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words: list[str] = []
    monkeypatch.setattr("subprocess.run", lambda command, **options: words.extend(command[4:]))
    assert warm(tmp_path, 3) == tmp_path / "warm-3" / "adapter"
    start, run = (compose(given).config["data"] for given in (words, ["recipe=grpo_mixed"]))
    assert start["_target_"] == "rlft.data.Recorded" and start["completion"] == "{answer}"
    assert {key: start[key] for key in start.keys() & run.keys() - {"_target_"}} == {
        key: run[key] for key in start.keys() & run.keys() - {"_target_"}
    }

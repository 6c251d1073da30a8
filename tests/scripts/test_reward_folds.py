"""Folds of the pairs on which knowing the writers is no help, and what the runs that hold them out come to together."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from reward_folds import fold, main, telling

from rlft.data.examples import parse
from rlft.data.files import Row
from rlft.data.formats import MODELS
from rlft.data.writers import strengths

WEAK, *_, STRONG = MODELS  # by how often they are right in ROWS


def row(number: int, *right: str) -> Row:
    solutions = {m: {"solution": f"{m} on {number}", "is_correct": m in right} for m in MODELS}
    return Row("", number, {"question": f"Question {number}?", "ground_truth": "#### 1", **solutions})


MIDDLE = MODELS[1:3]
ROWS = [
    row(0, WEAK), row(1, STRONG), row(2, STRONG, *MIDDLE), row(3), row(4, *MODELS), row(5, STRONG, *MIDDLE),
    row(6, *MIDDLE), row(7, STRONG), row(8, STRONG),
]  # fmt: skip


def test_a_question_tells_where_a_weaker_writer_is_right_and_a_stronger_one_is_not() -> None:
    strength = strengths(parse(r, "gsm8k_solutions", {}) for r in ROWS)
    assert strength == {WEAK: 2 / 9, **dict.fromkeys(MIDDLE, 4 / 9), STRONG: 6 / 9}
    assert [r.values["question"] for r in telling(ROWS)] == ["Question 0?", "Question 6?"]


def test_folds_share_the_questions_whatever_their_order() -> None:
    rows = [row(number) for number in range(40)]
    folds = {r.values["question"]: fold(r, 3) for r in rows}
    assert set(folds.values()) == {0, 1, 2}
    assert folds == {r.values["question"]: fold(r, 3) for r in reversed(rows)}


def test_the_runs_are_measured_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of each telling question the pair of WEAK or the first of MIDDLE, right, beside STRONG; one of two is ranked
    right."""
    file = tmp_path / "solutions.jsonl"
    file.write_text("".join(json.dumps(r.values) + "\n" for r in ROWS), encoding="utf-8")
    commands: list[list[str]] = []

    def rlft(command: list[str], *, cwd: Path, **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        (held,) = [word.partition("=")[2].split(",") for word in command if word.startswith("data.eval_file=")]
        runs = []
        for path in map(Path, held):
            (cwd / path.stem).mkdir()
            pairs = [
                {
                    "id": question, "question": question, "right": "r", "wrong": "w", "wrong_score": 0.0,
                    "right_score": 1.0 if "0" in question else -1.0, "wrong_writer": STRONG, "weaker": True,
                    "right_writer": WEAK if "0" in question else MIDDLE[0], "correct": 9,
                }
                for question in (json.loads(line)["question"] for line in path.read_text("utf-8").splitlines())
            ]  # fmt: skip
            text = "".join(json.dumps(pair) + "\n" for pair in pairs)
            (cwd / path.stem / "eval_pairs.jsonl").write_text(text, encoding="utf-8")
            runs.append({"run_dir": path.stem})
        return subprocess.CompletedProcess(command, 0, stdout=json.dumps({"runs": runs}))

    monkeypatch.setattr(subprocess, "run", rlft)
    main([str(file), "--folds", "2", "--jobs", "2", "--runs", str(tmp_path / "runs"), "trainer.steps=3"])
    sentence, found = capsys.readouterr().out.splitlines()
    part = json.loads(found)["right_from_weaker"]
    assert (part["n"], part["questions"], part["pair_accuracy"]) == (2, 2, 0.5)
    assert json.loads(found)["right_from_stronger"] is None
    assert "where the weaker writer is right 50.0%" in sentence
    (command,) = commands
    assert {"recipe=reward_model_gsm8k", "trainer.steps=3", "hydra.launcher.n_jobs=2"} <= set(command)
    assert f"data.train_file={file}" in command

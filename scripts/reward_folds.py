"""Trains reward models on all but a fold of GSM8K's model solutions, and measures them together where it is no help to
know who wrote a solution: on the pairs whose right answer is by the weaker of two writers.

Usage: python scripts/reward_folds.py SOLUTIONS [--folds 2] [--jobs 1] [--runs runs/reward_folds] [key=value ...]

Only a quarter of the questions have such a pair, too few in one held-out share to tell a score from a coin. Each fold
of them is held out of one run, so that every such pair is ranked once, by a score that was trained on none of its
question. What has finished is not run again, what was interrupted goes on.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from rlft.data.examples import MODELS
from rlft.evaluation.pairs import Compared, measures, sentence

Row = dict[str, Any]


def strengths(rows: Sequence[Row]) -> dict[str, float]:
    """Returns of each writer the share of its solutions that are right."""
    return {writer: sum(row[writer]["is_correct"] for row in rows) / len(rows) for writer in MODELS}


def telling(rows: Sequence[Row], strength: dict[str, float]) -> list[Row]:
    """Returns the questions to which the weaker of two writers has a right solution and the other one a wrong one."""

    def tells(row: Row) -> bool:
        right = [strength[writer] for writer in MODELS if row[writer]["is_correct"]]
        wrong = [strength[writer] for writer in MODELS if not row[writer]["is_correct"]]
        return bool(right and wrong) and min(right) < max(wrong)

    return [row for row in rows if tells(row)]


def fold(row: Row, folds: int) -> int:
    """Returns the fold of a question, by a hash of its text: the same in whatever order they come."""
    return sha256(row["question"].encode()).digest()[-1] % folds


def write_folds(solutions: Path, folds: int, runs: Path) -> tuple[list[Path], dict[str, float]]:
    """Writes the questions that tell, a file for each fold; returns the files, and how often each writer is right."""
    rows = [json.loads(line) for line in solutions.read_text(encoding="utf-8").splitlines() if line.strip()]
    strength = strengths(rows)
    runs.mkdir(parents=True, exist_ok=True)
    files = [runs / f"fold_{number}.jsonl" for number in range(folds)]
    for number, file in enumerate(files):
        held = [row for row in telling(rows, strength) if fold(row, folds) == number]
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in held), encoding="utf-8")
    return files, strength


def train(solutions: Path, files: list[Path], runs: Path, jobs: int, words: Sequence[str]) -> list[Path]:
    """Returns the directories of the runs that each hold one file out. Raises CalledProcessError if one failed."""
    launcher = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}"] if jobs > 1 else []
    held_out = f"data.eval_file={','.join(map(str, files))}"
    command = [sys.executable, "-m", "rlft", "train", "-m", "recipe=reward_model_gsm8k", *words, *launcher]
    command += [f"data.train_file={solutions}", held_out, "--json"]
    swept = subprocess.run(command, cwd=runs, check=True, stdout=subprocess.PIPE, text=True)
    return [runs / run["run_dir"] for run in json.loads(swept.stdout)["runs"]]


def pooled(run_dirs: Sequence[Path], strength: dict[str, float]) -> dict[str, Any]:
    """Returns the measures over the held-out pairs of all runs. Who is the weaker is judged by all of the file."""
    pairs: list[Compared] = []
    for run_dir in run_dirs:
        for line in (run_dir / "eval_pairs.jsonl").read_text(encoding="utf-8").splitlines():
            fields = {key: value for key, value in json.loads(line).items() if key != "correct"}
            pair = Compared(**fields)
            right, wrong = strength[str(pair.right_writer)], strength[str(pair.wrong_writer)]
            pairs.append(replace(pair, weaker=None if right == wrong else right < wrong))
    return measures(pairs)


def main(words: list[str]) -> None:
    """Trains what has not been trained, and prints what all folds come to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("solutions", type=Path, help="GSM8K's example_model_solutions.jsonl")
    parser.add_argument("--folds", type=int, default=2, help="runs, each of which holds one fold out (2)")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side (1); set OMP_NUM_THREADS to match")
    parser.add_argument("--runs", type=Path, default=Path("runs/reward_folds"), help="where they are kept")
    given, overrides = parser.parse_known_args(words)
    runs = given.runs.resolve()
    files, strength = write_folds(given.solutions, given.folds, runs)
    found = pooled(train(given.solutions.resolve(), files, runs, given.jobs, overrides), strength)
    print(sentence(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])

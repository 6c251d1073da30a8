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
from hashlib import sha256
from pathlib import Path
from typing import Any

from rlft.data.examples import Example, parse
from rlft.data.files import Row, read_file
from rlft.data.writers import strengths
from rlft.evaluation.pairs import Compared, measures, sentence


def telling(rows: Sequence[Row]) -> list[Row]:
    """Returns the questions to which the weaker of two writers has a right solution and the other one a wrong one."""
    examples = [parse(row, "gsm8k_solutions", {}) for row in rows]
    strength = strengths(examples)

    def tells(example: Example) -> bool:
        right, wrong = ([strength[example.writers[text]] for text in texts] for texts in (example.right, example.wrong))
        return bool(right and wrong) and min(right) < max(wrong)

    return [row for row, example in zip(rows, examples, strict=True) if tells(example)]


def fold(row: Row, folds: int) -> int:
    """Returns the fold of a question, by a hash of its text: the same in whatever order they come."""
    return sha256(row.values["question"].encode()).digest()[-1] % folds


def write_folds(solutions: Path, folds: int, runs: Path) -> list[Path]:
    """Writes the questions that tell, a file for each fold. Raises UserError if the solutions cannot be read."""
    rows = telling(read_file(str(solutions)))
    runs.mkdir(parents=True, exist_ok=True)
    files = [runs / f"fold_{number}.jsonl" for number in range(folds)]
    for number, file in enumerate(files):
        held = [row.values for row in rows if fold(row, folds) == number]
        file.write_text("".join(json.dumps(values, ensure_ascii=False) + "\n" for values in held), encoding="utf-8")
    return files


def train(solutions: Path, files: list[Path], runs: Path, jobs: int, words: Sequence[str]) -> list[Path]:
    """Returns the directories of the runs that each hold one file out. Raises CalledProcessError if one failed."""
    launcher = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}"] if jobs > 1 else []
    held_out = f"data.eval_file={','.join(map(str, files))}"
    command = [sys.executable, "-m", "rlft", "train", "-m", "recipe=reward_model_gsm8k", *words, *launcher]
    command += [f"data.train_file={solutions}", held_out, "--json"]
    swept = subprocess.run(command, cwd=runs, check=True, stdout=subprocess.PIPE, text=True)
    return [runs / run["run_dir"] for run in json.loads(swept.stdout)["runs"]]


def pooled(run_dirs: Sequence[Path]) -> dict[str, Any]:
    """Returns the measures over the held-out pairs of all runs."""
    lines = [line for run in run_dirs for line in (run / "eval_pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [json.loads(line) for line in lines]
    return measures([Compared(**{key: row[key] for key in row if key != "correct"}) for row in rows])


def main(words: list[str]) -> None:
    """Trains what has not been trained, and prints what all folds come to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("solutions", type=Path, help="GSM8K's example_model_solutions.jsonl")
    parser.add_argument("--folds", type=int, default=2, help="runs, each of which holds one fold out (2)")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side (1); set OMP_NUM_THREADS to match")
    parser.add_argument("--runs", type=Path, default=Path("runs/reward_folds"), help="where they are kept")
    given, overrides = parser.parse_known_args(words)
    runs = given.runs.resolve()
    files = write_folds(given.solutions, given.folds, runs)
    found = pooled(train(given.solutions.resolve(), files, runs, given.jobs, overrides))
    print(sentence(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])

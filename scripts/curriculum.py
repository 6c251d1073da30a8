"""Measures what a curriculum does: `grpo_mixed` without one and with the adaptive one, the same seeds and steps.

Usage: python scripts/curriculum.py RUNS [--seeds 0 1 2] [--steps 24] [--warm 12] [--jobs N] [key=value ...]
    > docs/curriculum.md

A curriculum chooses among what the model can and cannot do, and before it is trained the embedded one can do little of
this. All runs therefore start from one adapter that a few steps of supervised fine-tuning made. Runs go into the folder
RUNS; what has finished there is not run again, and what was interrupted goes on.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any

from rlft.comparison.arms import Arm
from rlft.comparison.record import Record, read_record
from rlft.evaluation import crossed, wilson
from rlft.evaluation.crossed import Estimate
from rlft.evaluation.intervals import SEEDS

ARMS = ("none", "adaptive")
WORDS = ("recipe=grpo_mixed", "algorithm.beta=0", "trainer.eval_long_tokens=24")
# The same questions with their answers.
WARM = ("recipe=grpo_mixed", "curriculum=none", "data=recorded", "~data.samples_per_prompt", "reward=implicit")


def warm(folder: Path, steps: int) -> Path:
    """Returns the adapter that all runs start from, trained now if it has not been."""
    made = folder / f"warm-{steps}"
    if not (made / "summary.json").is_file():
        own = [f"trainer.steps={steps}", "trainer.eval_size=0", f"output_dir={made}"]
        rlft("train", *WARM, "algorithm=sft", *own)
    return made / "adapter"


def rlft(*words: str) -> None:
    """Runs a command. Raises CalledProcessError if it failed."""
    subprocess.run([sys.executable, "-m", "rlft", *words], check=True, stdout=sys.stderr)


def run(folder: Path, arm: str, seed: int, words: Sequence[str]) -> Record:
    """Returns a run's record, having run it as far as it had not finished."""
    run_dir = folder / f"{arm}-{seed}"
    if not (run_dir / "config.yaml").is_file() or read_record(run_dir) is None:
        started = list((run_dir / "checkpoints").glob("step-*"))
        own = [f"curriculum={arm}", f"seed={seed}", f"output_dir={run_dir}"]
        rlft(*(["resume", str(run_dir)] if started else ["train", *WORDS, *own, *words]))
    record = read_record(run_dir)
    if record is None:
        raise SystemExit(f"{run_dir} has not finished")
    return record


def metrics(record: Record) -> list[dict[str, Any]]:
    """Returns the lines of metrics.jsonl."""
    text = (record.path / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def uniform(record: Record) -> float:
    """Returns the share of a run's groups that were all right or all wrong."""
    return fmean(line["group/all_right"] + line["group/all_wrong"] for line in metrics(record))


def digits(record: Record) -> dict[str, int]:
    """Returns the digits of each held-out question's numbers, by its id."""
    rows = (record.path / "eval_after.jsonl").read_text(encoding="utf-8").split("\n")
    answers = [json.loads(row) for row in rows if row]
    return {a["id"]: max(len(word) for word in a["question"].split() if word.isdigit()) for a in answers}


def points(e: Estimate) -> str:
    """Returns an accuracy or a difference with its interval, in points."""
    return f"{100 * e.value:.1f} [{100 * e.low:.1f}, {100 * e.high:.1f}]"


def page(arms: dict[str, Arm], warmed: int, command: str) -> str:
    """Returns docs/curriculum.md."""
    first = arms["none"].first
    steps, seeds = first.summary["steps"], [run.summary["seed"] for run in arms["none"].runs]
    groups = steps * int(first.config["trainer.prompts_per_step"])
    size, known = first.config["data.samples_per_prompt"], digits(first)
    measure, pool = (arms["adaptive"].first.config[f"curriculum.{key}"] for key in ("measure", "pool"))
    lines = [
        "# What the adaptive curriculum does",
        "",
        f"    {command}",
        "",
        f"`grpo_mixed` at β = 0: GRPO on sums of two numbers of 1 to {max(known.values())} digits, from the pretrained",
        f"SmolLM2-135M-Instruct after {warmed} steps of supervised fine-tuning on such sums. Every arm takes {steps}",
        f"steps of {groups // steps} questions, {size} answers each. Questions come once an epoch (`none`), or in",
        f"proportion to p(1-p) (`adaptive`), where p is estimated from {measure} answers to each of {pool} questions,",
        "sampled before training and on the bill below, and from those that came since.",
        "",
        "## Groups from which nothing is learnt",
        "",
        "The share of groups whose answers are all right or all wrong, over all steps of a run:",
        "",
        f"| curriculum | {' | '.join(f'seed {seed}' for seed in seeds)} | mean |",
        f"|---|{'---:|' * (len(seeds) + 1)}",
    ]
    shares = {name: [uniform(run) for run in arm.runs] for name, arm in arms.items()}
    for name, each in shares.items():
        lines.append(f"| `{name}` | {' | '.join(f'{share:.1%}' for share in each)} | {fmean(each):.1%} |")
    low, high = wilson(round(fmean(shares["adaptive"]) * groups * len(seeds)), groups * len(seeds))
    ratio = fmean(shares["adaptive"]) / fmean(shares["none"])
    lines += [
        "",
        f"With the curriculum it is {ratio:.2f} times that without. Were groups independent draws, the share with it",
        f"would have the interval [{low:.1%}, {high:.1%}].",
        "",
        *_by_thirds(arms),
        "",
        "## Held-out accuracy after as many samples",
        "",
        *_accuracies(arms),
        "",
        *_bill(arms),
    ]
    return "\n".join(lines) + "\n"


def _by_thirds(arms: dict[str, Arm]) -> list[str]:
    """The share and the reward in each third of the runs: both move."""
    lines = ["| curriculum | in each third of the run | mean reward in each |", "|---|---|---|"]
    for name, arm in arms.items():
        every = [metrics(run) for run in arm.runs]
        third = len(every[0]) // 3
        parts = [[line for run in every for line in run[i * third : (i + 1) * third]] for i in range(3)]
        dead = " → ".join(f"{fmean(m['group/all_right'] + m['group/all_wrong'] for m in part):.0%}" for part in parts)
        reward = " → ".join(f"{fmean(m['reward/mean'] for m in part):.2f}" for part in parts)
        lines.append(f"| `{name}` | {dead} | {reward} |")
    return lines


def _accuracies(arms: dict[str, Arm]) -> list[str]:
    known = digits(arms["none"].first)
    questions = arms["none"].questions
    by_digits = {n: [q for q in questions if known[q] == n] for n in sorted(set(known.values()))}
    heads = [f"{n} digit{'s' if n > 1 else ''} ({len(part)})" for n, part in by_digits.items()]
    lines = [f"| | all {len(questions)} | {' | '.join(heads)} |", f"|---|---|{'---:|' * len(heads)}"]
    before = arms["none"].answers(questions, base=True)[:1]
    rows = {"before": before} | {f"`{name}`": arm.answers(questions) for name, arm in arms.items()}
    place = {q: i for i, q in enumerate(questions)}
    for name, answers in rows.items():
        cells = [f"{answers[:, [place[q] for q in part]].mean():.0%}" for part in by_digits.values()]
        lines.append(f"| {name} | {points(crossed.accuracy(answers))} | {' | '.join(cells)} |")
    gap = crossed.difference(*(arms[name].answers(questions) for name in reversed(ARMS)))
    seeds = len(arms["none"].runs)
    scope = (
        "The interval covers the draw of the seeds and that of the questions."
        if seeds >= SEEDS
        else f"With {seeds} seed{'s' if seeds > 1 else ''} the interval is that of the questions alone: how much seeds "
        "differ is not in it, and no winner is named."
    )
    told = "holds 0: which is better is not decided" if gap.low <= 0 <= gap.high else "does not hold 0"
    return [
        *lines,
        "",
        f"Greedy, in points, with 95% intervals. `adaptive` less `none`: {points(gap)} points, which {told}. {scope}",
    ]


def _bill(arms: dict[str, Arm]) -> list[str]:
    lines = ["## What it took, mean of the seeds", "", "| curriculum | sampled tokens | trained tokens | FLOPs |"]
    lines.append("|---|---:|---:|---:|")
    for name, arm in arms.items():
        totals = [run.summary["totals"] for run in arm.runs]
        tokens = [f"{fmean(t[key] for t in totals):,.0f}" for key in ("generated_tokens", "trained_tokens")]
        lines.append(f"| `{name}` | {tokens[0]} | {tokens[1]} | {fmean(t['flops'] for t in totals):.2e} |")
    return [
        *lines,
        "",
        "At β = 0 groups that are all right or all wrong are not run through the update, which saves FLOPs.",
    ]


def main() -> None:
    """Runs what is missing, and prints the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="RUNS")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--warm", type=int, default=12, help="supervised steps that all runs start from (12)")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side (1); set OMP_NUM_THREADS to match")
    parser.add_argument("words", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args()
    start = f"model.adapter_path={warm(options.folder, options.warm)}"
    words = [f"trainer.steps={options.steps}", start, *options.words]
    each = [(options.folder, arm, seed, words) for arm in ARMS for seed in options.seeds]
    with ThreadPoolExecutor(options.jobs) as pool:  # the runs are processes of their own
        runs = list(pool.map(lambda given: run(*given), each))
    arms = {arm: Arm(tuple(runs[i * len(options.seeds) :][: len(options.seeds)])) for i, arm in enumerate(ARMS)}
    numbers = f"--seeds {' '.join(map(str, options.seeds))} --steps {options.steps} --warm {options.warm}"
    given = " ".join([numbers, *options.words])
    print(page(arms, options.warm, f"python scripts/curriculum.py RUNS {given} > docs/curriculum.md"), end="")


if __name__ == "__main__":
    main()

"""Figures 5 and 7 of DeepSeekMath (arXiv 2402.03300) at small scale: RFT, Online RFT, GRPO with outcome and with
process rewards at an equal budget of samples, on sums of four numbers worked out an addition a line.

Usage: python scripts/figure5.py [--steps 24] [--seeds 3] [--questions 200] [--samples 16] [--jobs N] [--docs DIR] …

The embedded model does not write steps by itself, so all methods start from one adapter that a few steps of supervised
fine-tuning made. Every method then goes over as many samples: steps x 8 questions x 8 answers. What has finished is not
run again, what was interrupted goes on. Writes figure5.json, .md and .svg to the folder of --docs.
"""

import argparse
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from figure5_doc import write
from figure5_result import Run, collect, read_drawn, read_run

from rlft.base import question_id
from rlft.data.split import is_held_out
from rlft.data.tasks import generate

# The recipes' own:
PROMPT = "{question} Add two numbers a line, then write #### and the answer."
TERMS, HELD_OUT, LIMIT = 4, 0.1, 64


@dataclass(frozen=True)
class Study:
    """Arms that are compared.

    Attributes:
        arms: name to the overrides of its runs.
        claims: (the arm that should be better, the other one) and who says so.
        warm: steps of supervised fine-tuning that all arms start from.
    """

    arms: dict[str, list[str]]
    claims: dict[str, tuple[str, str]]
    warm: int


METHODS = Study(
    {
        "RFT": ["recipe=rft_steps", "data.pool={groups}"],
        "Online RFT": ["recipe=online_rft_steps"],
        "GRPO, outcome": ["recipe=grpo_steps"],
        "GRPO, process": ["recipe=grpo_process_steps"],
    },
    {
        "Online RFT overtakes RFT": ("Online RFT", "RFT"),
        "GRPO overtakes Online RFT": ("GRPO, outcome", "Online RFT"),
        "rewards of steps help GRPO": ("GRPO, process", "GRPO, outcome"),
    },
    warm=8,
)


@dataclass(frozen=True)
class Budget:
    """What each run may spend, and what it is asked.

    Attributes:
        steps: of training, `groups_per_step` questions with `answers` answers each.
        seeds: runs of an arm. questions: held-out ones asked, greedily. evaluations: between the first and the last.
        samples: answers drawn to each of `drawn_questions`, for maj@k and pass@k, at the paper's `temperature`.
    """

    steps: int = 24
    seeds: int = 3
    questions: int = 200
    samples: int = 16
    drawn_questions: int = 64
    evaluations: int = 5
    groups_per_step: int = 8
    answers: int = 8
    temperature: float = 0.7

    @property
    def total(self) -> int:
        """Samples of a run."""
        return self.steps * self.groups_per_step * self.answers


@dataclass(frozen=True)
class Runner:
    """Runs commands of rlft in processes of their own, in the folder `home`: runs go to `runs` in it."""

    home: Path

    def __call__(self, *words: str) -> dict[str, Any]:
        """Returns what a command printed with --json. Raises SystemExit if it failed."""
        command = [sys.executable, "-m", "rlft", *words, "--json"]
        print("rlft " + " ".join(words), file=sys.stderr, flush=True)
        self.home.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(command, cwd=self.home, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"status {done.returncode} of: rlft {' '.join(words)}\n{done.stdout}")
        return json.loads(done.stdout)


def warm_rows(count: int) -> list[dict[str, str]]:
    """Returns sums worked out an addition a line, none of them a question that the recipes ask."""
    settings = {"min_terms": TERMS, "max_terms": TERMS, "min_digits": 2, "max_digits": 2, "seed": 1}
    rows = []
    for example in generate("chain_sum", settings, 20 * count):
        if "-" in example.question or is_held_out(question_id(example.question), HELD_OUT):
            continue
        first, *others = (int(number) for number in re.findall(r"\d+", example.question))
        lines = []
        for number in others:
            lines.append(f"{first} + {number} = {first + number}")
            first += number
        rows.append({"question": example.question, "answer": "\n".join([*lines, f"#### {first}"])})
    return rows[:count]


def warm_start(study: Study, budget: Budget, runner: Runner) -> list[str]:
    """Returns the overrides that start a run from the adapter of a few supervised steps, made now if need be."""
    rows = warm_rows(study.warm * budget.groups_per_step)
    runner.home.mkdir(parents=True, exist_ok=True)
    file = runner.home / f"warm-{study.warm}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    folder = runner.home / f"warm-{study.warm}"
    runner(
        "train", "recipe=sft_math", f"trainer.steps={study.warm}", f"output_dir={folder}", "trainer.eval_size=0",
        "data.task=null", "data.task_settings={}", "data.question_pattern=null", "data.held_out_share=0",
        f"data.train_file={file}", 'data.completion="{solution}"', f'data.prompt="{PROMPT}"',
        f"data.max_completion_tokens={LIMIT}",
    )  # fmt: skip
    return [f"model.adapter_path={folder / 'adapter'}"]


def train(arm: list[str], budget: Budget, start: list[str], runner: Runner) -> list[Path]:
    """Returns the directories of an arm's finished runs, one per seed."""
    words = [word.replace("{groups}", str(budget.steps * budget.groups_per_step)) for word in arm]
    every = max(1, budget.steps // budget.evaluations)
    swept = runner(
        "train", "-m", *words, *start, f"seed={','.join(map(str, range(budget.seeds)))}",
        f"trainer.steps={budget.steps}", f"trainer.prompts_per_step={budget.groups_per_step}",
        f"data.samples_per_prompt={budget.answers}", f"trainer.eval_every={every}",
        f"trainer.eval_size={budget.questions}", f"trainer.eval_long_tokens={LIMIT}",
    )  # fmt: skip
    return [runner.home / run["run_dir"] for run in swept["runs"]]


def draw(arm: list[str], budget: Budget, start: list[str], run_dir: Path | None, seed: int, runner: Runner) -> Path:
    """Returns the file of answers drawn from a run's adapter, or from what all runs start from, drawn if need be."""
    drawn = f"{budget.samples}x{budget.drawn_questions}"
    folder = runner.home / "drawn" / f"{run_dir.name if run_dir else 'start'}-{drawn}"
    path = run_dir / "adapter" if run_dir else start[0].partition("=")[2]
    file = folder / "eval_adapter_samples.jsonl"
    if not file.exists():
        recipe = [word for word in arm if not word.startswith("data.pool")]
        runner(
            "eval", *recipe, f"adapter={path}", f"seed={seed}", f"eval.samples={budget.samples}",
            f"eval.temperature={budget.temperature}", f"eval.questions={budget.drawn_questions}",
            f"output_dir={folder}",
        )  # fmt: skip
    return file


def run(study: Study, budget: Budget, runner: Runner, jobs: int = 1) -> dict[str, Any]:
    """Runs what has not been run, `jobs` arms side by side, and returns the results."""
    start = warm_start(study, budget, runner)
    first = next(iter(study.arms.values()))
    before = read_drawn(draw(first, budget, start, None, 0, runner))
    per_step = budget.groups_per_step * budget.answers

    def finished(arm: list[str]) -> list[Run]:
        folders = train(arm, budget, start, runner)
        files = [draw(first, budget, start, folder, seed, runner) for seed, folder in enumerate(folders)]
        return [read_run(folder, file, per_step) for folder, file in zip(folders, files, strict=True)]

    with ThreadPoolExecutor(jobs) as pool:  # the runs are processes of their own
        arms = dict(zip(study.arms, pool.map(finished, study.arms.values()), strict=True))
    described = {"claims": study.claims, "warm": study.warm, "budget": asdict(budget)}
    return {**described, **collect(arms, before)}


def main(words: list[str]) -> None:
    """Runs a study and writes its page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("steps", "seeds", "questions", "evaluations", "samples", "drawn_questions"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(Budget, name))
    parser.add_argument("--runs", type=Path, default=Path("runs/figure5"), help="where runs are kept (runs/figure5)")
    parser.add_argument("--jobs", type=int, default=1, help="arms run side by side (1); set OMP_NUM_THREADS to match")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where the page is written (docs)")
    given = vars(parser.parse_args(words))
    home, docs, jobs = given.pop("runs"), given.pop("docs"), given.pop("jobs")
    for file in write(run(METHODS, Budget(**given), Runner(home.resolve()), jobs), docs):
        print(file)


if __name__ == "__main__":
    main(sys.argv[1:])

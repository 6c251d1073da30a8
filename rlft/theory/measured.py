"""What a run has measured: lengths and acceptance for a prediction, and its bill to hold the prediction against."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from rlft.base import UserError
from rlft.theory.lengths import Lengths
from rlft.theory.work import Work


@dataclass(frozen=True)
class Measured:
    """A run's own figures.

    Attributes:
        steps: it took. prompt, completion, sampled, longest, answer: mean lengths, tokens; None where there are none.
        acceptance, all_right, all_wrong: shares of completions and of groups, over all steps.
        busiest: the greatest share of trained tokens that moved the policy in one step.
        questions: asked in an evaluation.
        distinct: rows trained that the reference had not scored before; None where nothing tells.
        flops, memory: of the run, bytes. seconds: of its steps. rollout: seconds of sampling, which is part of the
            steps only where they sample; what is sampled once may also have been read from the cache, in no time.
    """

    steps: int
    prompt: float | None
    completion: float
    sampled: float | None
    longest: float
    answer: float | None
    acceptance: float
    all_right: float
    all_wrong: float
    busiest: float
    questions: int
    distinct: int | None
    flops: float
    memory: float
    seconds: float
    rollout: float

    def onto(self, bounds: tuple[Lengths, Lengths], same: bool) -> tuple[Lengths, Lengths]:
        """Returns bounds with what was measured in their place. Another run than the `same` may come further into its
        data, meet more rows that differ, and have busier steps."""
        known = {
            "prompt": self.prompt,
            "sampled": self.sampled or self.completion,
            "answer": self.answer,
            "questions": self.questions,
        }
        known = {key: value for key, value in known.items() if value is not None}
        fixed: dict[str, Any] = {
            "completion": self.completion,
            "longest": self.longest,
            "acceptance": self.acceptance,
            "all_right": self.all_right,
            "all_wrong": self.all_wrong,
            **known,
        }
        lower, upper = (replace(bound, **fixed) for bound in bounds)
        if same:
            own: dict[str, Any] = {"distinct": self.distinct, "busiest": self.busiest}
            return replace(lower, **own), replace(upper, **own)
        return replace(lower, distinct=lower.distinct and max(lower.distinct, self.distinct or 0)), upper


def read_run(folder: Path, work: Work, pool: int) -> Measured:
    """Returns what a run directory tells.

    Args:
        folder: the directory of a run that has ended.
        work: what its recipe asks for. pool: queries that completions were sampled from once, if they were.

    Raises:
        UserError: it has no summary or no metrics.
    """
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        lines = _lines(folder / "metrics.jsonl")
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(f"from_run={folder}: expected the directory of a finished run: {error}") from error
    if not lines:
        raise UserError(f"from_run={folder}: the run took no step, so there is nothing to learn from it")
    totals = summary["totals"]
    asked = summary.get("eval") or {}
    draws = pool * work.samples if work.sampled == "once" else 0
    answers = [tokens for name in ("before_long", "after") for tokens in _answers(folder / f"eval_{name}.jsonl")]

    def mean(key: str) -> float:
        return fmean(line[key] for line in lines)

    steps = float(sum(line["time/step_s"] for line in lines))
    rollout = float(sum(line["time/rollout_s"] for line in lines))
    return Measured(
        steps=len(lines),
        prompt=totals["prompt_tokens"] / totals["prompts"] if totals.get("prompt_tokens") else None,
        completion=mean("completion_length/mean"),
        sampled=totals["generated_tokens"] / draws if draws else None,
        longest=mean("completion_length/max") if work.sampled == "each step" else work.max_completion,
        answer=fmean(answers) if answers else None,
        acceptance=fmean(_share_right(line) for line in lines),
        all_right=mean("group/all_right"),
        all_wrong=mean("group/all_wrong"),
        busiest=1 - min(line["gc/share_zero"] for line in lines),
        questions=asked.get("questions", asked.get("n", 0)),  # of a reward model n counts pairs
        distinct=totals.get("reference_rows") or totals["reward_calls"] or None,
        flops=totals["flops"],
        memory=summary["peak_memory_bytes"],
        seconds=steps,
        rollout=totals["seconds"] - steps if work.sampled == "once" else rollout,
    )


def _share_right(line: dict[str, Any]) -> float:
    """Returns a step's share of right completions. Runs of older versions have rewards alone: 1 for a right one."""
    share = line.get("reward/share_right")
    return min(1.0, max(0.0, line["reward/mean"])) if share is None else share


def _answers(path: Path) -> list[int]:
    return [line["tokens"] for line in _lines(path)] if path.is_file() else []


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text(encoding="utf-8").split("\n") if text]

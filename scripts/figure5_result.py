"""What the runs of a study came to: curves, accuracies and differences with their intervals, maj@k and pass@k."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from rlft.evaluation import crossed
from rlft.evaluation.accuracy import Answer
from rlft.evaluation.crossed import Answers, Estimate
from rlft.evaluation.sampled import pass_at_k, powers, vote

Drawn = dict[str, list[Answer]]
"""Answers drawn to each question, by its id."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        summary: its summary.json. curve: (samples gone through, held-out accuracy), the start included.
        alike: share of the groups trained on that were all right or all wrong.
        correct: whether each held-out question was answered rightly at the end, greedily.
        drawn: answers drawn at the end.
    """

    summary: dict[str, Any]
    curve: list[tuple[int, float]]
    alike: float
    correct: dict[str, bool]
    drawn: Drawn


def read_run(folder: Path, drawn: Path, samples_per_step: int) -> Run:
    """Returns a run from its directory and from the file of the answers drawn from it."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    steps = _lines(folder / "metrics.jsonl")
    asked = [(step["step"], step["eval/accuracy"]) for step in steps if step.get("eval/accuracy") is not None]
    alike = fmean(step["group/all_right"] + step["group/all_wrong"] for step in steps)
    curve = [(0, summary["eval"]["accuracy_before"])]
    curve += [(step * samples_per_step, accuracy) for step, accuracy in asked]
    end = (summary["steps"] * samples_per_step, summary["eval"]["accuracy_after"])
    correct = {line["id"]: line["correct"] for line in _lines(folder / "eval_after.jsonl")}
    return Run(summary, curve if curve[-1][0] == end[0] else [*curve, end], alike, correct, read_drawn(drawn))


def read_drawn(file: Path) -> Drawn:
    """Returns the answers of an eval_NAME_samples.jsonl."""
    keys = ("id", "question", "gold")
    return {
        line["id"]: [Answer(**{key: line[key] for key in keys}, **answer) for answer in line["answers"]]
        for line in _lines(file)
    }


def collect(arms: Mapping[str, Sequence[Run]], start: Drawn) -> dict[str, Any]:
    """Returns the results as plain values: `arms` by name, with `runs` and estimates; `start`; and `pairs` of arms.

    Every estimate has value, low, high (95%, over seeds and questions; over questions alone with fewer than 3 seeds)
    and p, those of pairs also Holm's over all of them.

    Args:
        arms: each arm's runs, one per seed; all answered the same questions.
        start: answers drawn from the model that all of them started from.
    """
    greedy = {name: _greedy(runs) for name, runs in arms.items()}
    pairs = [
        {"first": one, "second": other, **_plain(crossed.difference(greedy[one], greedy[other]))}
        for one, other in combinations(arms, 2)
    ]
    for pair, p in zip(pairs, crossed.holm([pair["p"] for pair in pairs]), strict=True):
        pair["holm"] = p
    return {
        "arms": {name: _arm(runs, greedy[name], start) for name, runs in arms.items()},
        "start": {measure: _curve([start], value) for measure, value in MEASURES.items()},
        "pairs": pairs,
    }


def majority_at_k(answers: Sequence[Answer], k: int) -> float:
    """Returns maj@k of one question: the mean of the votes of as many sets of k answers as there are, none twice.

    >>> def says(text, right=False):
    ...     return Answer("", "", "", None, text, right, True, 0)
    >>> majority_at_k([says("2", True), says("2", True), says("3"), says("4"), says("3")], 2)  # right, then a tie
    0.5
    """
    return fmean(vote(answers[i : i + k]) for i in range(0, len(answers) - k + 1, k))


def passes_at_k(answers: Sequence[Answer], k: int) -> float:
    """Returns pass@k of one question, without bias."""
    return pass_at_k(len(answers), sum(answer.correct for answer in answers), k)


Measure = Callable[[Sequence[Answer], int], float]
MEASURES: dict[str, Measure] = {"maj": majority_at_k, "pass": passes_at_k}


def _arm(runs: Sequence[Run], greedy: Answers, start: Drawn) -> dict[str, Any]:
    drawn, n = [run.drawn for run in runs], _answers_each(start)
    last = {measure: (_values(drawn, value, n), _values([start], value, n)) for measure, value in MEASURES.items()}
    return {
        "accuracy": _plain(crossed.accuracy(greedy)),
        "runs": [
            {"seed": run.summary["seed"], "curve": run.curve, "alike": run.alike, "totals": run.summary["totals"]}
            for run in runs
        ],
        **{measure: _curve(drawn, value) for measure, value in MEASURES.items()},
        "gain": {measure: _plain(crossed.difference(*values)) for measure, values in last.items()},
        # maj@n less pass@n, after against before: how much more the one rose than the other.
        "maj_over_pass": _plain(crossed.difference(*(last["maj"][i] - last["pass"][i] for i in range(2)))),
    }


def _curve(drawn: Sequence[Drawn], value: Measure) -> dict[str, Any]:
    return {str(k): _plain(crossed.accuracy(_values(drawn, value, k))) for k in powers(_answers_each(drawn[0]))}


def _greedy(runs: Sequence[Run]) -> Answers:
    return np.array([[run.correct[q] for q in sorted(runs[0].correct)] for run in runs], dtype=np.float64)


def _values(drawn: Sequence[Drawn], value: Measure, k: int) -> Answers:
    """Returns [S, Q] of a measure."""
    questions = sorted(drawn[0])
    return np.array([[value(answers[q], k) for q in questions] for answers in drawn], dtype=np.float64)


def _answers_each(drawn: Drawn) -> int:
    return len(next(iter(drawn.values())))


def _plain(estimate: Estimate) -> dict[str, float | None]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "p": estimate.p}


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]

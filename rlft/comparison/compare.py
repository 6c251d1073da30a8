"""Methods beside each other: accuracy with its interval, differences paired by question, and the bills."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from rlft.base import UserError
from rlft.comparison.arms import Arm, arms
from rlft.comparison.baseline import baseline as baseline_of
from rlft.comparison.bills import bill, budget, unequal
from rlft.comparison.harnessed import harnessed
from rlft.comparison.mismatch import mismatches
from rlft.comparison.page import write
from rlft.comparison.passes import passes
from rlft.comparison.record import Record, label_runs, read_record
from rlft.comparison.verdict import Pair, judge
from rlft.evaluation import crossed
from rlft.evaluation.intervals import SEEDS, wilson

ROBUST = 5  # seeds from which the mean of the middle half says more than the mean of all


def compare(
    run_dirs: list[Path],
    out: Path,
    *,
    allow_mismatch: bool = False,
    baseline: str | None = None,
    failed: Sequence[str] = (),
    tuning: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Compares finished runs and writes compare.json, .csv, .md, .html and, with matplotlib, compare.png.

    Runs that differ in their seed alone are one method's and are pooled: from three seeds up its intervals cover the
    draw of the seeds as well as that of the questions (`rlft.evaluation.crossed`), with fewer they cover the questions
    alone, and no winner is named. All methods answered the same questions, so what makes one hard for all drops out of
    a difference. Which differences are decided is corrected for how many there are.

    Args:
        run_dirs: two or more run directories; unfinished ones are named and left out.
        out: the directory to write to.
        allow_mismatch: compare runs although they differ in base model, chat template, completion limit or questions;
            the differences are then part of the result, and pairs are compared on the questions they share.
        baseline: hold the other methods against this one alone, by a name as `rlft.comparison.baseline` reads it.
        failed: what is to be said of runs that are missing because they failed.
        tuning: what was tried with each recipe before its runs: recipe, chosen, trials (words, accuracy, n, path,
            flops, seconds).

    Returns:
        The object written to compare.json: `methods` (best first: label, method, recipe, seeds, paths, n, accuracies,
        accuracy, low, high, iqm, gain, gain_interval, `sampled` as `passes` returns it, cut_share, and what it cost, as
        `bill` returns it), `baseline` (a label, or None), `budget` (unit and amount that all were given, or None),
        `tuning`, `pairs` (better, other, n, difference, low, high, p, improvement, decided, verdict), `verdicts`,
        `base_sampled` (of the untrained model), `harness` as `harnessed` returns it, `mismatches`, `unfinished`,
        `failed`, `notes`, `files`. Accuracies and differences are shares, not points.

    Raises:
        UserError: fewer than two finished runs, runs that may not be compared, or what `read_record` raises.
    """
    if len({path.resolve() for path in run_dirs}) < len(run_dirs):
        raise UserError("a run directory is named twice; name each once")
    read = [(path, read_record(path)) for path in run_dirs]
    records = [record for _, record in read if record is not None]
    unfinished = [str(path) for path, record in read if record is None]
    if len(records) < 2:
        told = f"; not finished: {', '.join(unfinished)} (go on with `rlft resume RUN_DIR`)" if unfinished else ""
        raise UserError(f"two or more finished runs are needed, {len(records)} given{told}")
    found = arms(records)
    labels = label_runs([arm.first for arm in found])
    named = [(run, _named(label, run, arm)) for label, arm in zip(labels, found, strict=True) for run in arm.runs]
    differ = mismatches([run for run, _ in named], [name for _, name in named])
    if differ and not allow_mismatch:
        raise UserError(
            f"these runs cannot be compared: {'; '.join(differ)}. To compare them all the same: allow_mismatch=true"
        )
    against = baseline and baseline_of(baseline, found, labels)
    methods = [_method(label, arm) for label, arm in zip(labels, found, strict=True)]
    both = [Pair(*pair) for pair in combinations(zip(labels, found, strict=True), 2)]
    pairs = judge([pair for pair in both if against in (None, pair.first[0], pair.second[0])])
    result: dict[str, Any] = {
        "methods": methods,
        "baseline": against,
        "budget": budget([run for run, _ in named]),
        "tuning": list(tuning),
        "pairs": pairs,
        "base_sampled": next((s for arm in found for run in arm.runs if (s := passes([run.path], "base"))), None),
        "harness": harnessed(found, labels),
        "verdicts": [pair["verdict"] for pair in pairs],
        "mismatches": differ,
        "unfinished": unfinished,
        "failed": list(failed),
        "notes": [*_notes(found, pairs, against), *unequal(named, methods)],
    }
    return write(result, out)


def _named(label: str, run: Record, arm: Arm) -> str:
    return label if len(arm.runs) == 1 else f"{label} seed={run.summary.get('seed')}"


def _method(label: str, arm: Arm) -> dict[str, Any]:
    questions = arm.questions
    answers = arm.answers(questions)
    n, seeds = len(questions), len(arm.runs)
    if seeds == 1:
        low, high = wilson(int(answers.sum()), n)
        evaluated = arm.first.summary["eval"]
        gain, interval = evaluated.get("difference"), evaluated.get("interval")
    else:
        whole = crossed.accuracy(answers)
        low, high = whole.low, whole.high
        gain, interval = _gain(arm)
    return {
        "label": label,
        "method": arm.first.summary.get("method"),
        "recipe": arm.first.summary.get("recipe"),
        "seeds": [run.summary.get("seed") for run in arm.runs],
        "paths": [str(run.path) for run in arm.runs],
        "n": n,
        "accuracies": arm.accuracies,
        "accuracy": arm.accuracy,
        "low": low,
        "high": high,
        "iqm": crossed.interquartile_mean(arm.accuracies) if seeds >= ROBUST else None,
        "gain": gain,
        "gain_interval": interval,
        "sampled": passes([run.path for run in arm.runs]),
        "cut_share": sum(run.cut / len(run.correct) for run in arm.runs) / seeds,
        **bill(arm.runs),
    }


def _gain(arm: Arm) -> tuple[float | None, list[float] | None]:
    """Returns the gain over the untrained model, which has no seed, where its answers are still there."""
    known = [run for run in arm.runs if run.base]
    if not known:
        return None, None
    over = crossed.difference(arm.answers(arm.questions), Arm((known[0],)).answers(arm.questions, base=True))
    return over.value, [over.low, over.high]


def _notes(found: list[Arm], pairs: list[dict[str, Any]], against: str | None) -> list[str]:
    few = min(len(arm.runs) for arm in found)
    notes = [f"baseline {against}: the other methods are held against it, not against each other"] * bool(against)
    if few < SEEDS:
        notes.append(
            f"seed noise not estimated: that takes {SEEDS} seeds of each method (`rlft train -m recipe=… seed=0,1,2`); "
            "intervals of methods with fewer cover the draw of the questions alone, and no winner is named"
        )
    if sum(pair["p"] is not None for pair in pairs) > 1:
        notes.append("intervals are 95% each; what is decided holds for all pairs together (Holm's correction, at 5%)")
    return notes

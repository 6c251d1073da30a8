"""Runs beside each other: accuracy with its interval, differences paired by question, and the bills."""

from itertools import combinations
from pathlib import Path
from typing import Any

from rlft.base import UserError
from rlft.comparison.page import write
from rlft.comparison.record import Record, label_runs, mismatches, read_record
from rlft.evaluation.intervals import paired_difference, wilson

BILLS = ("generated_tokens", "trained_tokens", "seconds")


def compare(run_dirs: list[Path], out: Path, *, allow_mismatch: bool = False) -> dict[str, Any]:
    """Compares finished runs and writes compare.json, compare.csv, compare.md and, with matplotlib, compare.png.

    Every accuracy has its 95% Wilson interval. Differences are paired by question: both runs answered the same ones, so
    what makes a question hard for both drops out. An interval that holds 0 decides nothing. Intervals cover the draw of
    the questions, not that of the seed.

    Args:
        run_dirs: two or more run directories; unfinished ones are named and left out.
        out: the directory to write to.
        allow_mismatch: compare runs although they differ in base model, chat template, completion limit or questions;
            the differences are then part of the result, and pairs are compared on the questions they share.

    Returns:
        The object written to compare.json: `runs` (best first: label, path, method, recipe, seed, n, correct, accuracy,
        low, high, gain, gain_interval, cut_share, bills), `pairs` (better, other, n, difference, low, high,
        decided, verdict), `verdicts`, `mismatches`, `unfinished`, `notes`, `files`. Accuracies and differences are
        shares, not points.

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
    records.sort(key=lambda record: -_accuracy(record))
    labels = label_runs(records)
    differ = mismatches(records, labels)
    if differ and not allow_mismatch:
        raise UserError(
            f"these runs cannot be compared: {'; '.join(differ)}. To compare them all the same: allow_mismatch=true"
        )
    pairs = [_pair(a, b) for a, b in combinations(zip(labels, records, strict=True), 2)]
    result: dict[str, Any] = {
        "runs": [_run(label, record) for label, record in zip(labels, records, strict=True)],
        "pairs": pairs,
        "verdicts": [pair["verdict"] for pair in pairs],
        "mismatches": differ,
        "unfinished": unfinished,
        "notes": _notes(records, len(pairs)),
    }
    return write(result, out)


def _accuracy(record: Record) -> float:
    return sum(record.correct.values()) / len(record.correct)


def _run(label: str, record: Record) -> dict[str, Any]:
    n, correct = len(record.correct), sum(record.correct.values())
    low, high = wilson(correct, n)
    evaluated, totals = record.summary["eval"], record.summary.get("totals", {})
    return {
        "label": label,
        "path": str(record.path),
        "method": record.summary.get("method"),
        "recipe": record.summary.get("recipe"),
        "seed": record.summary.get("seed"),
        "n": n,
        "correct": correct,
        "accuracy": _accuracy(record),
        "low": low,
        "high": high,
        "gain": evaluated.get("difference"),
        "gain_interval": evaluated.get("interval"),
        "cut_share": record.cut / n,
        **{bill: totals.get(bill) for bill in BILLS},
    }


def _pair(a: tuple[str, Record], b: tuple[str, Record]) -> dict[str, Any]:
    """Compares two runs, the more accurate one first, on the questions that both answered."""
    (better, first), (other, second) = a, b
    shared = [question for question in first.correct if question in second.correct]
    pair: dict[str, Any] = {"better": better, "other": other, "n": len(shared)}
    if not shared:
        nothing = {"difference": None, "low": None, "high": None, "decided": False}
        return pair | nothing | {"verdict": f"{better} against {other}: not decided (no question in common)"}
    gap = paired_difference([second.correct[q] for q in shared], [first.correct[q] for q in shared])
    numbers = f"{100 * gap.value:+.1f} points [{100 * gap.low:.1f}, {100 * gap.high:.1f}]"
    if gap.low > 0:
        verdict = f"{better} beats {other}: {numbers}"
    elif gap.high < 0:  # only possible on the shared part of unequal question sets
        verdict = f"{other} beats {better}: {numbers} for {better}"
    else:
        verdict = f"{better} against {other}: not decided, {numbers}"
    decided = gap.low > 0 or gap.high < 0
    return pair | {
        "difference": gap.value, "low": gap.low, "high": gap.high, "decided": decided, "verdict": verdict,
    }  # fmt: skip


def _notes(records: list[Record], pairs: int) -> list[str]:
    apart = [{k: v for k, v in r.config.items() if k not in ("seed", "output_dir")} for r in records]
    if not any(a == b for a, b in combinations(apart, 2)):
        notes = ["seed noise not estimated: one seed per method; the intervals cover the draw of the questions only"]
    else:
        notes = ["seed noise not estimated: runs that differ in their seed alone are shown one by one, not pooled"]
    if pairs > 1:
        notes.append(f"the {pairs} paired intervals are 95% each, not jointly")
    return notes

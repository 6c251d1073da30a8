"""pass@k and maj@n of a comparison's runs, where `rlft eval` has drawn answers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlft.base import UserError

DRAWN = ("samples", "temperature", "max_tokens", "top_k", "top_p", "min_p", "questions", "n")
"""What answers must have been drawn alike in, to compare: how, and to which questions and how many."""
Measure = dict[str, float]
"""`value`, `low` and `high`, shares."""


def passes(runs: Sequence[Path], name: str = "trained") -> dict[str, Any] | None:
    """Returns what sampled answers came to.

    Args:
        runs: the run directories of one method.
        name: "trained", or "base" for the untrained model.

    Returns:
        `pass_at`, k (as text) → a measure, for the ks that all runs have, `maj_at`, a measure or None, and `drawn`, how
        answers were drawn, None where not all were drawn alike; None if a run has no such answers. A measure of one run
        has its 95% interval over the questions; of several it is their mean, with the lowest and the highest of them.

    Raises:
        UserError: a file is malformed.
    """
    found = [_sampled(run / f"eval_{name}.json") for run in runs]
    known = [sampled for sampled in found if sampled is not None]
    if not known or len(known) < len(found):
        return None
    shared = set.intersection(*(set(sampled["pass"]) for sampled in known))
    votes = [sampled["maj"] for sampled in known]
    drawn = [{key: sampled.get(key) for key in DRAWN} for sampled in known]
    return {
        "pass_at": {k: _mean([sampled["pass"][k] for sampled in known]) for k in sorted(shared, key=int)},
        "maj_at": None if None in votes else _mean(votes),
        "drawn": drawn[0] if all(each == drawn[0] for each in drawn) else None,
    }


def _mean(measures: list[Measure]) -> Measure:
    if len(measures) == 1:
        return measures[0]
    values = [measure["value"] for measure in measures]
    return {"value": sum(values) / len(values), "low": min(values), "high": max(values)}


def _sampled(path: Path) -> dict[str, Any] | None:
    try:
        measured = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"sampled": None}
        sampled = measured["sampled"]
        # What was drawn may be of fewer questions than the greedy answers beside it.
        return sampled and {key: measured.get(key) for key in ("questions", "n")} | sampled
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path}: expected what `rlft eval` writes, an object with "sampled"') from error

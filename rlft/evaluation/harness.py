"""Results of EleutherAI's lm-evaluation-harness, as it writes them (`lm_eval --output_path` too)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlft.base import UserError
from rlft.evaluation.sampled import interval_of


@dataclass(frozen=True)
class Score:
    """One metric of a task.

    Attributes:
        task, metric, filter: as the harness names them, e.g. "gsm8k", "exact_match", "strict-match" ("none" is common).
        value, stderr: of the metric; the standard error is None where the harness gives none.
        n: questions that were asked; None for a group of tasks.
    """

    task: str
    metric: str
    filter: str
    value: float
    stderr: float | None
    n: int | None

    @property
    def name(self) -> str:
        """E.g. "gsm8k exact_match (strict-match)"."""
        return f"{self.task} {self.metric}" + ("" if self.filter == "none" else f" ({self.filter})")

    @property
    def interval(self) -> tuple[float, float] | None:
        """95% limits: of a share those of `rlft.evaluation.sampled`, else value ± 1.96 standard errors."""
        if self.stderr is None:
            return None
        if self.n and 0 <= self.value <= 1:
            return interval_of(self.value, self.stderr**2 * max(1, self.n - 1), self.n)
        return self.value - 1.96 * self.stderr, self.value + 1.96 * self.stderr


def scores(results: Mapping[str, Any]) -> list[Score]:
    """Returns every metric in what `lm_eval.simple_evaluate` returned, or in the file it is written to.

    Raises:
        UserError: it has no results.
    """
    found: list[Score] = []
    counts = results.get("n-samples") or {}
    if not isinstance(results.get("results"), Mapping):
        raise UserError("not results of lm_eval: they have a key `results` with a mapping for each task")
    for task, values in results["results"].items():
        n = (counts.get(task) or {}).get("effective")
        for key, value in values.items():
            metric, comma, chosen = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue  # an alias, or a metric that was not measured ("N/A")
            stderr = values.get(f"{metric}_stderr,{chosen}")
            plain = stderr if isinstance(stderr, int | float) else None
            found.append(Score(task, metric, chosen, float(value), plain, n))
    return found


def read_harness(path: Path) -> list[Score]:
    """Returns every metric in a file of the harness's results.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as results of lm_eval: {error}") from error
    if not isinstance(results, dict):
        raise UserError(f"{path}: expected the results of lm_eval, found a {type(results).__name__}")
    try:
        return scores(results)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error

"""Results of lm-evaluation-harness that runs have: every metric of every task, by method."""

from pathlib import Path
from typing import Any

from rlft.comparison.arms import Arm
from rlft.evaluation.harness import Score, read_harness

BASE = "untrained model"
TITLE = "lm-evaluation-harness: value ± standard error, of several runs their mean, the lowest and the highest"


def harnessed(found: list[Arm], labels: list[str]) -> list[dict[str, Any]]:
    """Returns what `rlft eval RUN_DIR --harness` has found of the runs.

    Returns:
        For every task, metric and filter, as the harness names them: `task`, `metric`, `filter`, and `scores`: by
        method one `value`, `stderr`, `n` and `path` for each run that has it; the untrained model's under `BASE`, those
        of the first run that has some.

    Raises:
        UserError: a file is malformed.
    """
    rows: dict[tuple[str, str, str], dict[str, list[dict[str, Any]]]] = {}

    def add(label: str, run: Path, scores: list[Score]) -> None:
        for score in scores:
            named = rows.setdefault((score.task, score.metric, score.filter), {}).setdefault(label, [])
            named.append({"value": score.value, "stderr": score.stderr, "n": score.n, "path": str(run)})

    for label, arm in zip(labels, found, strict=True):
        for run in arm.runs:
            add(label, run.path, _scores(run.path / "harness_trained.json"))
    for run in (run for arm in found for run in arm.runs):
        if scores := _scores(run.path / "harness_base.json"):
            add(BASE, run.path, scores)
            break
    return [
        {"task": task, "metric": metric, "filter": chosen, "scores": scores}
        for (task, metric, chosen), scores in rows.items()
    ]


def _scores(file: Path) -> list[Score]:
    return read_harness(file) if file.is_file() else []


def table(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Returns what people see of it under `TITLE`, headings first: a row per metric and a column per method."""
    columns = list(dict.fromkeys(label for row in rows for label in row["scores"]))
    columns.sort(key=lambda label: label == BASE)
    lines = [["task, metric", *columns]]
    for row in rows:
        name = Score(row["task"], row["metric"], row["filter"], 0.0, None, None).name
        counts = {score["n"] for scores in row["scores"].values() for score in scores}
        lines.append([name, *(_cell(row["scores"].get(label, []), len(counts) > 1) for label in columns)])
    return lines


def _cell(scores: list[dict[str, Any]], unlike: bool) -> str:
    """Returns a cell; where not all were asked as many questions, it says how many."""
    if not scores:
        return "–"
    values = [score["value"] for score in scores]
    text = f"{sum(values) / len(values):.3f}"
    if len(values) > 1:
        text += f" [{min(values):.3f}, {max(values):.3f}]"
    elif scores[0]["stderr"] is not None:
        text += f" ± {scores[0]['stderr']:.3f}"
    counts = sorted({score["n"] for score in scores if score["n"] is not None})
    return text + (f", n={'/'.join(map(str, counts))}" if unlike and counts else "")

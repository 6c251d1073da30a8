"""An evaluation for people: a table with a row per measure and a column per model."""

from typing import Any

from rich.console import Console
from rich.table import Table

from rlft.evaluation.harness import Score


def render(results: dict[str, dict[str, Any]], console: Console) -> None:
    """Prints what `rlft.train.evaluate_plan` returned, by the name of each model."""
    _print({name: _cells(result) for name, result in results.items()}, console)


def render_scores(results: dict[str, list[Score]], console: Console) -> None:
    """Prints the harness's metrics, by the name of each model. They need not be shares."""
    columns: dict[str, dict[str, str]] = {}
    for name, scores in results.items():
        columns[name] = {}
        for score in scores:
            limits = "" if score.interval is None else " [{:.3f}, {:.3f}]".format(*score.interval)
            asked = "" if score.n is None else f", n={score.n:,}"
            columns[name][score.name] = f"{score.value:.3f}{limits}{asked}"
    _print(columns, console)


def _print(columns: dict[str, dict[str, str]], console: Console) -> None:
    table = Table("95% intervals", *columns, box=None, pad_edge=False)
    for row in dict.fromkeys(row for column in columns.values() for row in column):
        table.add_row(row, *(column.get(row, "") for column in columns.values()))
    console.print(table)


def _cells(result: dict[str, Any]) -> dict[str, str]:
    cells = {"greedy": _share(result["accuracy"], *result["interval"])}
    drawn = result["sampled"]
    cut = f"{result['cut_share']:.1%}"
    if drawn:
        n, maj = drawn["samples"], drawn["maj"]
        cells[f"avg@{n}"] = _share(**drawn["avg"])
        cells[f"maj@{n}"] = _share(**maj) if maj else "no answers to count"
        # pass@1 is avg@n.
        cells |= {f"pass@{k}": _share(**measure) for k, measure in drawn["pass"].items() if k != "1"}
        cut += f" greedy, {drawn['cut_share']:.1%} drawn"
    n, available = result["n"], result["available"]
    of = f" of {available:,}" if available > n else ""
    return cells | {f"cut off at {result['max_completion_tokens']} tokens": cut, "questions": f"{n:,}{of}"}


def _share(value: float, low: float, high: float) -> str:
    return f"{value:.1%} [{100 * low:.1f}, {100 * high:.1f}]"

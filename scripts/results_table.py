"""Prints Markdown tables of finished runs: held-out accuracy before and after, and what each run cost.

Reward models have a table of their own: they answer nothing, and are measured by pairs.

Usage: python scripts/results_table.py RUN_DIR [RUN_DIR ...]
"""

import json
import sys
from pathlib import Path
from typing import Any

ANSWERS = (
    "| recipe | before (at the limit / 128 tokens) | after | difference, points [95%] | cut off "
    "| generated tokens | trained tokens |\n|---|---|---|---|---|---|---|"
)
PAIRS = (
    "| recipe | before | pairs ranked right, after [95%] | pairs | questions "
    "| generated tokens | trained tokens |\n|---|---|---|---|---|---|---|"
)


def finished(folder: Path) -> dict[str, Any]:
    """Returns the summary of a run. Raises SystemExit if it has not finished, or has asked nothing."""
    path = folder / "summary.json"
    if not path.is_file():
        raise SystemExit(f"{folder}: no run has finished there")
    summary = json.loads(path.read_text(encoding="utf-8"))
    if summary["status"] != "finished" or not {"interval", "pair_interval"}.intersection(summary["eval"] or {}):
        raise SystemExit(f"{folder}: the run is {summary['status']}, or asked no held-out question")
    return summary


def row(summary: dict[str, Any]) -> str:
    """Returns the table's line for a run, of a model that answers or of one that scores."""
    result, totals = summary["eval"], summary["totals"]
    if "pair_interval" in result:  # the head starts at zero: every pair is a draw, half right
        low, high = result["pair_interval"]
        after = f"{100 * result['pair_accuracy']:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"
        measured = ["50.0%", after, str(result["n"]), str(result["questions"])]
    else:
        low, high = result["interval"]
        measured = [
            f"{100 * result['accuracy_before']:.1f}% / {100 * result['accuracy_before_long']:.1f}%",
            f"{100 * result['accuracy_after']:.1f}%",
            f"{100 * result['difference']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]",
            f"{100 * result['cut_share_before']:.0f}% → {100 * result['cut_share_after']:.0f}%",
        ]
    spent = [f"{totals['generated_tokens']:,}", f"{totals['trained_tokens']:,}"]
    return "| " + " | ".join([f"`{summary['recipe']}`", *measured, *spent]) + " |"


def main(folders: list[str]) -> None:
    """Prints the tables."""
    if not folders:
        raise SystemExit(__doc__)
    summaries = [finished(Path(folder)) for folder in folders]
    answer = [row(summary) for summary in summaries if "interval" in summary["eval"]]
    score = [row(summary) for summary in summaries if "pair_interval" in summary["eval"]]
    print("\n\n".join("\n".join([head, *rows]) for head, rows in ((ANSWERS, answer), (PAIRS, score)) if rows))


if __name__ == "__main__":
    main(sys.argv[1:])

"""Prints a Markdown table of finished runs: held-out accuracy before and after, and what each run cost.

Usage: python scripts/results_table.py RUN_DIR [RUN_DIR ...]
"""

import json
import sys
from pathlib import Path


def row(folder: Path) -> str:
    """Returns the table's line for a run directory. Raises SystemExit if the run has not finished."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    if summary["status"] != "finished" or not (summary["eval"] or {}).get("interval"):
        raise SystemExit(f"{folder}: the run is {summary['status']}, or asked no held-out question")
    result, totals = summary["eval"], summary["totals"]
    low, high = result["interval"]
    before = f"{100 * result['accuracy_before']:.1f}% / {100 * result['accuracy_before_long']:.1f}%"
    cells = [
        f"`{summary['recipe']}`",
        before,
        f"{100 * result['accuracy_after']:.1f}%",
        f"{100 * result['difference']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]",
        f"{100 * result['cut_share_before']:.0f}% → {100 * result['cut_share_after']:.0f}%",
        f"{totals['generated_tokens']:,}",
        f"{totals['trained_tokens']:,}",
    ]
    return "| " + " | ".join(cells) + " |"


def main(folders: list[str]) -> None:
    """Prints the table."""
    if not folders:
        raise SystemExit(__doc__)
    print(
        "| recipe | before (at the limit / 128 tokens) | after | difference, points [95%] | cut off "
        "| generated tokens | trained tokens |\n|---|---|---|---|---|---|---|"
    )
    for folder in folders:
        print(row(Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1:])

"""A comparison for people: on the terminal, as Markdown and CSV, and as a picture."""

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADINGS = (
    "run", "held-out accuracy [95%]", "gain over base [95%]", "cut off", "generated tokens", "trained tokens", "time",
)  # fmt: skip
BILL_UNITS = {"generated_tokens": "generated tokens", "trained_tokens": "trained tokens", "seconds": "minutes"}


def write(result: dict[str, Any], out: Path) -> dict[str, Any]:
    """Writes compare.csv, .md, .png (where matplotlib is installed) and .json to `out`; returns the result with their
    paths as `files`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.csv").write_text(_csv(result["runs"]), encoding="utf-8")
    (out / "compare.md").write_text(_markdown(result), encoding="utf-8")
    picture = _plot(result["runs"], out / "compare.png")
    names = ["compare.json", "compare.csv", "compare.md", *(["compare.png"] if picture else [])]
    result = result | {"files": [str(out / name) for name in names]}
    (out / "compare.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def render(result: dict[str, Any], console: Console) -> None:
    """Prints a comparison: the verdicts in words, a table of the runs, and what the numbers do not say."""
    for line in result["mismatches"]:
        console.print(Text(f"MISMATCH: {line}", style="bold red"))
    for pair in result["pairs"]:
        console.print(Text(pair["verdict"], style="bold green" if pair["decided"] else "yellow"))
    table = Table()
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "run" else "right")
    for run in result["runs"]:
        table.add_row(*(Text(cell) for cell in _cells(run)))
    console.print(table)
    for line in _footnotes(result):
        console.print(Text(line, style="dim"))
    console.print(Text("written: " + "  ".join(result["files"])), soft_wrap=True)


def _footnotes(result: dict[str, Any]) -> list[str]:
    left_out = [f"not finished, left out: {path}" for path in result["unfinished"]]
    return left_out + result["notes"]


def _share(value: float | None, interval: Any = None, sign: str = "") -> str:
    if value is None:
        return "–"
    text = f"{100 * value:{sign}.1f}%"
    return text if interval is None else f"{text} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def _cells(run: dict[str, Any]) -> list[str]:
    """Returns a run's row under HEADINGS."""
    seconds = run["seconds"]
    return [
        run["label"],
        _share(run["accuracy"], (run["low"], run["high"])),
        _share(run["gain"], run["gain_interval"], "+"),
        _share(run["cut_share"]),
        *("–" if run[bill] is None else f"{run[bill]:,}" for bill in ("generated_tokens", "trained_tokens")),
        "–" if seconds is None else f"{seconds / 60:.1f} min",
    ]


def _csv(runs: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    names = [name for name in runs[0] if name != "gain_interval"]
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*names, "gain_low", "gain_high"])
    for run in runs:
        table.writerow([*(run[name] for name in names), *(run["gain_interval"] or (None, None))])
    return text.getvalue()


def _markdown(result: dict[str, Any]) -> str:
    rows = [HEADINGS, ("---", *["---:"] * (len(HEADINGS) - 1)), *(_cells(run) for run in result["runs"])]
    table = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    warnings = [f"- **Mismatch:** {line}." for line in result["mismatches"]]
    verdicts = [f"- {line}." for line in result["verdicts"]]
    notes = [f"- {line}." for line in _footnotes(result)]
    n = "/".join(str(count) for count in sorted({run["n"] for run in result["runs"]}))
    caption = f"Greedy accuracy on {n} held-out questions; differences are paired by question."
    blocks = (["# Comparison"], warnings, verdicts, [caption], table, notes)
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _plot(runs: list[dict[str, Any]], path: Path) -> bool:
    """Draws accuracy with its interval per run, and the bills; returns False where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import EngFormatter
    except ImportError:
        return False
    bills = [bill for bill in BILL_UNITS if any(run[bill] for run in runs)]
    ratios = [3.0, *[1.3] * len(bills)]
    figure = Figure(figsize=(1.7 * sum(ratios), 1.3 + 0.45 * len(runs)), layout="constrained")
    axes = figure.subplots(1, len(ratios), sharey=True, squeeze=False, width_ratios=ratios)[0]
    rows = list(range(len(runs)))
    points = [100 * run["accuracy"] for run in runs]
    below = [100 * (run["accuracy"] - run["low"]) for run in runs]
    above = [100 * (run["high"] - run["accuracy"]) for run in runs]
    axes[0].errorbar(points, rows, xerr=[below, above], fmt="o", color="#1f5fa8", capsize=4, linewidth=1.6)
    axes[0].set_yticks(rows, [run["label"] for run in runs])
    axes[0].set_ylim(len(runs) - 0.5, -0.5)
    axes[0].set_xlim(0, 100)
    _style(axes[0], "held-out accuracy, % (95% interval)")
    for panel, bill in zip(axes[1:], bills, strict=True):
        scale = 60 if bill == "seconds" else 1
        if bill != "seconds":
            panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.barh(rows, [(run[bill] or 0) / scale for run in runs], color="#9db7d5", height=0.5)
        panel.tick_params(axis="y", length=0)
        _style(panel, BILL_UNITS[bill])
    figure.savefig(path, dpi=130)
    return True


def _style(axes: "Axes", label: str) -> None:
    axes.set_xlabel(label, fontsize=9)
    axes.tick_params(labelsize=9)
    axes.grid(True, axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)

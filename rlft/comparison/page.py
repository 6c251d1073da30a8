"""A comparison for people: on the terminal, as Markdown and CSV, as a picture, and as a page (`web`)."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlft.comparison import web
from rlft.comparison.bills import tuned
from rlft.comparison.harnessed import TITLE
from rlft.comparison.harnessed import table as harness_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADINGS = (
    "method", "seeds", "held-out accuracy [95%]", "gain over base [95%]", "cut off", "generated tokens",
    "trained tokens", "FLOPs", "time",
)  # fmt: skip
BILL_UNITS = {"generated_tokens": "generated tokens", "trained_tokens": "trained tokens", "seconds": "minutes"}


def write(result: dict[str, Any], out: Path) -> dict[str, Any]:
    """Writes compare.csv, .md, .html, .png (where matplotlib is installed) and .json to `out`; returns the result with
    their paths as `files`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.csv").write_text(_csv(result["methods"]), encoding="utf-8")
    (out / "compare.md").write_text(_markdown(result), encoding="utf-8")
    (out / "compare.html").write_text(web.page(result, out), encoding="utf-8")
    picture = _plot(result["methods"], out / "compare.png")
    names = ["compare.json", "compare.csv", "compare.md", "compare.html", *(["compare.png"] if picture else [])]
    result = result | {"files": [str(out / name) for name in names]}
    (out / "compare.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def render(result: dict[str, Any], console: Console) -> None:
    """Prints a comparison: the verdicts in words, a table of the methods, and what the numbers do not say."""
    for line in result["mismatches"]:
        console.print(Text(f"MISMATCH: {line}", style="bold red"))
    for pair in result["pairs"]:
        console.print(Text(pair["verdict"], style="bold green" if pair["decided"] else "yellow"))
    table = Table()
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for method in result["methods"]:
        table.add_row(*(Text(cell) for cell in _cells(method)))
    console.print(table)
    if result["harness"]:
        headings, *rows = harness_table(result["harness"])
        further = Table(title=Text(TITLE), title_justify="left", box=None)
        for heading in headings:
            further.add_column(Text(heading))
        for row in rows:
            further.add_row(*map(Text, row))
        console.print(further)
    if budget := result["budget"]:
        console.print(Text(f"budget of each run: {budget['amount']:g} {budget['unit']}"))
    for line in _footnotes(result):
        console.print(Text(line, style="dim"))
    console.print(Text("written: " + "  ".join(result["files"])), soft_wrap=True)


def _footnotes(result: dict[str, Any]) -> list[str]:
    left_out = [f"failed, left out: {line}" for line in result["failed"]]
    left_out += [f"not finished, left out: {path}" for path in result["unfinished"]]
    return left_out + tuned(result["tuning"]) + result["notes"]


def _share(value: float | None, interval: Any = None, sign: str = "") -> str:
    if value is None:
        return "–"
    text = f"{100 * value:{sign}.1f}%"
    return text if interval is None else f"{text} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def _cells(method: dict[str, Any]) -> list[str]:
    """Returns a method's row under HEADINGS; bills are means over its seeds."""
    seconds = method["seconds"]
    return [
        method["label"],
        str(len(method["seeds"])),
        _share(method["accuracy"], (method["low"], method["high"])),
        _share(method["gain"], method["gain_interval"], "+"),
        _share(method["cut_share"]),
        *("–" if method[bill] is None else f"{method[bill]:,.0f}" for bill in ("generated_tokens", "trained_tokens")),
        "–" if method["flops"] is None else f"{method['flops']:.2g}",
        "–" if seconds is None else f"{seconds / 60:.1f} min",
    ]


def _csv(methods: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    names = [name for name in methods[0] if name not in ("gain_interval", "sampled", "flops_by_part")]
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*names, "gain_low", "gain_high"])
    for method in methods:
        cells = (" ".join(map(str, value)) if isinstance(value := method[name], list) else value for name in names)
        table.writerow([*cells, *(method["gain_interval"] or (None, None))])
    return text.getvalue()


def _markdown(result: dict[str, Any]) -> str:
    table = _table([HEADINGS, *(_cells(method) for method in result["methods"])])
    further = [[f"{TITLE}."], _table(harness_table(result["harness"]))] if result["harness"] else []
    warnings = [f"- **Mismatch:** {line}." for line in result["mismatches"]]
    verdicts = [f"- {line}." for line in result["verdicts"]]
    notes = [f"- {line}." for line in _footnotes(result)]
    n = "/".join(str(count) for count in sorted({method["n"] for method in result["methods"]}))
    budget = result["budget"]
    given = f" Budget: {budget['amount']:g} {budget['unit']} for each run." if budget else ""
    caption = f"Greedy accuracy on {n} held-out questions; differences are paired by question.{given}"
    blocks = (["# Comparison"], warnings, verdicts, [caption], table, *further, notes)
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _table(lines: Sequence[Sequence[str]]) -> list[str]:
    """Returns lines of cells as a table, headings first."""
    rows = [lines[0], ("---", *["---:"] * (len(lines[0]) - 1)), *lines[1:]]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


def _plot(methods: list[dict[str, Any]], path: Path) -> bool:
    """Draws accuracy with its interval per method, a dot per seed, and the bills; returns False where matplotlib is not
    installed."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import EngFormatter
    except ImportError:
        return False
    bills = [bill for bill in BILL_UNITS if any(method[bill] for method in methods)]
    ratios = [3.0, *[1.3] * len(bills)]
    figure = Figure(figsize=(1.7 * sum(ratios), 1.3 + 0.45 * len(methods)), layout="constrained")
    axes = figure.subplots(1, len(ratios), sharey=True, squeeze=False, width_ratios=ratios)[0]
    rows = list(range(len(methods)))
    points = [100 * method["accuracy"] for method in methods]
    below = [100 * (method["accuracy"] - method["low"]) for method in methods]
    above = [100 * (method["high"] - method["accuracy"]) for method in methods]
    axes[0].errorbar(points, rows, xerr=[below, above], fmt="o", color="#1f5fa8", capsize=4, linewidth=1.6)
    for row, method in zip(rows, methods, strict=True):
        if len(method["seeds"]) > 1:
            dots = [100 * accuracy for accuracy in method["accuracies"]]
            axes[0].plot(dots, [row] * len(dots), "o", color="#1f5fa8", alpha=0.35, markersize=4)
    axes[0].set_yticks(rows, [method["label"] for method in methods])
    axes[0].set_ylim(len(methods) - 0.5, -0.5)
    axes[0].set_xlim(0, 100)
    _style(axes[0], "held-out accuracy, % (95% interval)")
    for panel, bill in zip(axes[1:], bills, strict=True):
        scale = 60 if bill == "seconds" else 1
        if bill != "seconds":
            panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.barh(rows, [(method[bill] or 0) / scale for method in methods], color="#9db7d5", height=0.5)
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

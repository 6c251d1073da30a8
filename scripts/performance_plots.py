"""Draws what a GRPO step costs against samples per prompt, completion length and prompt length, one SVG each.

Usage: python scripts/performance_plots.py docs/performance.json docs
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

AXES = {
    "samples": "samples per prompt",
    "completion": "completion length, tokens",
    "prompt": "prompt length, tokens",
}
PARTS = {"rollout_s": "rollout", "reference_s": "reference pass", "update_s": "update"}
COLOURS = ("#1f5fa8", "#7fa8d0", "#c8553d")


def draw(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes performance-AXIS.svg for every axis measured; returns the files."""
    axes = result.get("scaling", {}).get("axes", {})
    return [_chart(points, AXES[axis], folder / f"performance-{axis}.svg") for axis, points in axes.items()]


def _chart(points: Sequence[Mapping[str, float]], label: str, path: Path) -> Path:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    values = [point["value"] for point in points]
    # A fixed salt and no date: the same numbers give the same file.
    with pyplot.rc_context({"svg.hashsalt": path.name, "font.size": 9}):
        figure, axis = pyplot.subplots(figsize=(4.2, 3.0), layout="constrained")
        parts = [[point[part] for point in points] for part in PARTS]
        axis.stackplot(values, parts, labels=list(PARTS.values()), colors=COLOURS, alpha=0.75)
        axis.plot(values, [point["step_s"] for point in points], "o-", color="#222222", label="whole step")
        axis.set_xscale("log", base=2)
        axis.set_xticks(values, [str(value) for value in values])
        axis.set_ylim(bottom=0)
        axis.set_xlabel(label)
        axis.set_ylabel("seconds a step")
        axis.legend(loc="upper left", frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None})
        pyplot.close(figure)
    return path


def main(arguments: list[str]) -> None:
    """Draws."""
    if len(arguments) != 2:
        raise SystemExit(__doc__)
    for path in draw(json.loads(Path(arguments[0]).read_text(encoding="utf-8")), Path(arguments[1])):
        print(path)


if __name__ == "__main__":
    main(sys.argv[1:])

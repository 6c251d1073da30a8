"""Learning curves as a PNG, from a run's metrics.jsonl."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlft.base import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = tuple[list[int], list[float]]
"""Steps and the values at them."""


@dataclass(frozen=True)
class Chart:
    """One chart of the figure.

    Attributes:
        title: what stands over it.
        unit: the label of its vertical axis.
        lines: (metric, label) pairs drawn in it.
        band: a metric whose value is drawn around the first line, above and below.
        share: whether the values are shares, drawn from 0 to 1.
    """

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]
    band: str | None = None
    share: bool = False


CHARTS = (
    Chart("Reward", "reward per completion", (("reward/mean", "mean, band ±1 std"),), band="reward/std"),
    Chart("Held-out accuracy", "share of questions", (("eval/accuracy", "accuracy"),), share=True),
    Chart("KL to the reference", "nats per token", (("kl", "KL"),)),
    Chart("Away from the reference, on data of others", "nats per token", (("log_ratio", "mean log π_θ/π_ref"),)),
    Chart("KL to the teacher", "nats per token", (("kl_teacher", "mean log-ratio"),)),
    Chart("Entropy", "nats per token", (("entropy", "entropy"),)),
    Chart("Completion length", "tokens", (("completion_length/mean", "mean length"),)),
    Chart("Cut off at the limit", "share of completions", (("completion_length/cut_share", "cut off"),), share=True),
    Chart(
        "Gradient norm",
        "norm before clipping",
        (("grad_norm", "of a batch, ‖g‖"), ("grad_signal", "estimate of ‖∇J‖"), ("grad_noise_floor", "noise floor")),
    ),
    Chart("Clipped ratios", "share of tokens", (("ratio/clip_high", "above 1 + ε"), ("ratio/clip_low", "below 1 - ε"))),
    Chart("Gradient coefficient", "mean |GC| per token", (("gc/mean_abs", "mean |GC|"),)),
    Chart(
        "Groups without a signal",
        "share of groups",
        (("group/all_right", "all right"), ("group/all_wrong", "all wrong")),
        share=True,
    ),
)
COLOURS = ("#1f5fa8", "#c8553d", "#8a8a8a")


def read_metrics(metrics_file: Path) -> dict[str, Curve]:
    """Returns the curve of every metric, steps ascending.

    Of several lines for one step the last counts (a run that was killed repeats steps when it resumes). A last line cut
    short by a kill is left out, and so are values that are not finite.

    Raises:
        UserError: the file is missing, or a line before the last is not a JSON object with a step.
    """
    if not metrics_file.is_file():
        raise UserError(f"{metrics_file}: no such file; a run directory's metrics.jsonl was expected")
    lines = metrics_file.read_text(encoding="utf-8").splitlines()
    steps: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            steps[int(row["step"])] = row
        except (ValueError, KeyError, TypeError) as error:
            if number < len(lines):
                message = f'{metrics_file}, line {number}: expected a JSON object with "step", found {line[:60]!r}'
                raise UserError(message) from error
    curves: dict[str, Curve] = {}
    for step in sorted(steps):
        for key, value in steps[step].items():
            if key != "step" and isinstance(value, int | float) and math.isfinite(value):
                xs, ys = curves.setdefault(key, ([], []))
                xs.append(step)
                ys.append(float(value))
    return curves


def plot_run(metrics_file: Path, out_dir: Path) -> list[Path]:
    """Draws a run's learning curves.

    Args:
        metrics_file: the run's metrics.jsonl.
        out_dir: where the PNG goes; it is made if need be.

    Returns:
        The files written: learning_curves.png, or none if matplotlib (extra `plots`) is not installed or there is no
        metric to draw.

    Raises:
        UserError: as `read_metrics`.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return []
    curves = read_metrics(metrics_file)
    charts = [chart for chart in CHARTS if any(metric in curves for metric, _ in chart.lines)]
    if not charts:
        return []
    columns = min(3, len(charts))
    rows = -(-len(charts) // columns)
    figure = Figure(figsize=(4.4 * columns, 2.9 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, chart in zip(grid, charts, strict=False):
        _draw(axes, chart, curves)
    for axes in grid[len(charts) :]:
        axes.remove()
    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / "learning_curves.png"
    figure.savefig(path, dpi=130)
    return [path]


def _draw(axes: "Axes", chart: Chart, curves: dict[str, Curve]) -> None:
    for (metric, label), colour in zip(chart.lines, COLOURS, strict=False):
        if metric not in curves:
            continue
        xs, ys = curves[metric]
        # a few points look like nothing as a bare line: held-out accuracy has two or three
        axes.plot(xs, ys, color=colour, linewidth=1.6, label=label, marker="o" if len(xs) < 12 else None, markersize=4)
        if chart.band is not None and chart.band in curves:
            width = dict(zip(*curves[chart.band], strict=True))
            band = [(x, y, width[x]) for x, y in zip(xs, ys, strict=True) if x in width]
            low, high = [y - w for _, y, w in band], [y + w for _, y, w in band]
            axes.fill_between([x for x, _, _ in band], low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_title(chart.title, fontsize=10, loc="left", fontweight="bold")
    axes.set_xlabel("step", fontsize=8)
    axes.set_ylabel(chart.unit, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if chart.share:
        axes.set_ylim(-0.02, 1.02)
    if len(chart.lines) > 1 or chart.band is not None:
        axes.legend(fontsize=7, frameon=False)

"""Curves of runs that differ in their seed alone: against what was spent, averaged step by step."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from rlft.report.chart import Point
from rlft.report.files import Files
from rlft.report.scale import duration, percent, si

MOST = 40  # points of a curve; more cannot be told apart


@dataclass(frozen=True)
class Axis:
    """What a curve is drawn against.

    Attributes:
        name: as in the page's code. label: for the choice. title: of the axis.
        metric: of metrics.jsonl. total: whether its lines hold the sum so far, and not each step's own part.
        bill: the key of summary.json's totals.
    """

    name: str
    label: str
    title: str
    metric: str
    total: bool = False
    bill: str | None = None


STEPS = Axis("steps", "steps", "step", "")
AXES = (
    Axis("flops", "FLOPs", "FLOPs spent", "flops", total=True, bill="flops"),
    Axis("generated", "generated tokens", "tokens generated", "tokens/generated", bill="generated_tokens"),
    Axis("trained", "trained tokens", "tokens trained on", "tokens/trained", bill="trained_tokens"),
    Axis("seconds", "seconds", "seconds of training", "time/step_s", bill="seconds"),
    STEPS,
)


def spent(run: Files, axis: Axis) -> dict[int, float]:
    """Returns what a run had spent by the end of each step, the warm start included; nothing if its metrics do not
    say."""
    if axis is STEPS:
        return {step: float(step) for steps, _ in run.curves.values() for step in steps}
    if axis.metric not in run.curves:
        return {}
    steps, values = run.curves[axis.metric]
    before = _before(run, axis)
    if axis.total:
        return {step: before + value for step, value in zip(steps, values, strict=True)}
    sums = list(accumulate(values))
    # What was sampled once, before the first step, takes seconds that no step has; the bill has them.
    whole = _totals(run).get("seconds")
    before += max(0.0, whole - sums[-1]) if axis.bill == "seconds" and whole is not None else 0.0
    return {step: before + value for step, value in zip(steps, sums, strict=True)}


def _totals(run: Files) -> dict[str, Any]:
    return run.summary.get("totals") or {}


def _before(run: Files, axis: Axis) -> float:
    """Returns what the run had cost whose adapter or weights this one started from."""
    return (_totals(run).get("warm_start") or {}).get(axis.bill, 0.0)


def over_seeds(runs: Sequence[Files], metric: str, axis: Axis = STEPS) -> list[Point]:
    """Returns a metric over the steps that all runs have: the mean over them at what they had spent on average, within
    their lowest and highest. Neighbouring steps are averaged where there are more than `MOST`."""
    tables = [dict(zip(*run.curves[metric], strict=True)) for run in runs if metric in run.curves]
    places = [spent(run, axis) for run in runs]
    if len(tables) < len(runs) or not all(places):
        return []
    return thin(_mean(tables, places))


def accuracy(runs: Sequence[Files], axis: Axis) -> list[Point]:
    """Returns held-out accuracy: before the first step, at the evaluations that all runs have, and at the end."""
    tables: list[dict[int, float]] = []
    places: list[dict[int, float]] = []
    for run in runs:
        evaluated, at = run.summary.get("eval") or {}, spent(run, axis)
        before, after = evaluated.get("accuracy_before"), evaluated.get("accuracy_after")
        if not at:
            return []
        last = max(at)
        steps, values = run.curves.get("eval/accuracy", ([], []))
        table = dict(zip(steps, values, strict=True))
        # Runs may end at different steps; their ends belong together all the same.
        end = table.pop(last, None) if after is None else after
        table.pop(last, None)
        tables.append({step: value for step, value in {0: before, **table, END: end}.items() if value is not None})
        places.append({**at, 0: _before(run, axis), END: at[last]})
    return _mean(tables, places, share=True)


END = 2**62  # a step after all


def _mean(tables: list[dict[int, float]], places: list[dict[int, float]], share: bool = False) -> list[Point]:
    steps = sorted(set.intersection(*(table.keys() & at.keys() for table, at in zip(tables, places, strict=True))))
    points: list[Point] = []
    for step in steps:
        values = [table[step] for table in tables]
        x, y = (sum(each) / len(each) for each in ([at[step] for at in places], values))
        low, high = (min(values), max(values)) if len(values) > 1 else (None, None)
        points.append(Point(x, y, low, high, _note(x, y, low, high, share)))
    return points


def thin(points: list[Point]) -> list[Point]:
    """Returns at most `MOST` points: means of neighbours."""
    size = -(-len(points) // MOST)
    return points if size <= 1 else [_join(points[i : i + size]) for i in range(0, len(points), size)]


def _join(points: list[Point]) -> Point:
    def mean(name: str) -> float | None:
        values = [getattr(point, name) for point in points]
        return None if None in values else sum(values) / len(values)

    x, y, low, high = (mean(name) for name in ("x", "y", "low", "high"))
    assert x is not None and y is not None
    return Point(x, y, low, high, _note(x, y, low, high, share=False))


def _note(x: float, y: float, low: float | None, high: float | None, share: bool) -> str:
    number = percent if share else si
    between = "" if low is None or high is None else f" [{number(low)}, {number(high)}]"
    return f"at {si(x)}: {number(y)}{between}"


def money(name: str, value: float | None) -> str:
    """Returns an amount of a bill for people.

    >>> money("seconds", 95.0), money("flops", 2.07e15), money("flops", None)
    ('1.6 min', '2.07P', '–')
    """
    if value is None:
        return "–"
    return duration(value) if name == "seconds" else si(value)

"""Parts 3 and 4: learning curves, and accuracy against cost."""

from collections.abc import Sequence
from typing import Any

from rlft.comparison.web.method import Method, named
from rlft.report.chart import GREY, Frame, Line, Point, chart
from rlft.report.curves import AXES, Axis, accuracy, money, over_seeds, spent
from rlft.report.frame import Section, about, notes
from rlft.report.markup import Html, el, join
from rlft.report.scale import percent

COSTS = {"flops": "FLOPs spent", "seconds": "seconds of training"}


def curves(known: list[Method], unit: str | None = None) -> Section:
    """Returns part 3: reward and accuracy against what was spent, over several axes to choose from; that of `unit`, the
    budget's, is shown first."""
    drawn = [(axis, _against(known, axis)) for axis in AXES]
    possible = [(axis, figures) for axis, figures in drawn if figures]
    if not possible:
        body = about("The runs have no metrics.jsonl.")
        return Section("curves", "Curves", "Learning curves", "", body)
    chosen = next((axis for axis, _ in possible if unit and axis.bill == unit), possible[0][0])
    left_out = [axis.label for axis, figures in drawn if not figures]
    buttons: list[Html] = []
    for axis, _ in possible:
        buttons.append(el("input", type="radio", name="by", id=f"by-{axis.name}", checked=axis is chosen))
        buttons.append(el("label", axis.label, for_=f"by-{axis.name}"))
    panels = [el("div", *figures, class_=f"charts by-{axis.name}") for axis, figures in possible]
    body = join(
        named(known),
        el("div", "against ", *buttons, el("div", *panels, class_="panels"), class_="choice"),
        notes([f"Not in every run's metrics.jsonl: {', '.join(left_out)}."] if left_out else []),
    )
    said = (
        "Means over the seeds, at the steps that all have; bands from the lowest seed to the highest. The reward is "
        "that of the batch each method trained on, which for recorded and filtered answers is high by construction: "
        "held-out accuracy compares."
    )
    return Section("curves", "Curves", "Learning curves", said, body)


def _against(known: list[Method], axis: Axis) -> list[Html]:
    if not all(spent(run, axis) for method in known for run in method.runs):
        return []
    rewards = [Line(m.label, over_seeds(m.runs, "reward/mean", axis), m.colour) for m in known]
    accuracies = [Line(m.label, accuracy(m.runs, axis), m.colour) for m in known]
    figures = (
        (Frame("Held-out accuracy", "share of questions", axis.title, share=True), accuracies),
        (Frame("Reward", "mean per completion", axis.title), rewards),
    )
    return [chart(frame, some) for frame, lines in figures if (some := [line for line in lines if line.points])]


def front(known: list[Method]) -> Section:
    """Returns part 4: accuracy against FLOPs and against seconds, and which methods no other beats in both."""
    figures = [figure for bill in COSTS if (figure := _front(known, bill)) is not None]
    said = (
        "Mean accuracy of each method with its 95% interval, at the mean of what it cost: up and to the left is "
        "better. The line joins methods that no other equals in accuracy for less."
    )
    if not figures:
        return Section("front", "Front", "Accuracy against cost", "", about("The runs' summaries have no bill."))
    body = join(named(known), el("div", *figures, class_="charts"))
    return Section("front", "Front", "Accuracy against cost", said, body)


def _front(known: list[Method], bill: str) -> Html | None:
    priced = [method for method in known if method.entry[bill]]
    if not priced:
        return None
    costs = [method.entry[bill] for method in priced]
    log = max(costs) > 10 * min(costs)
    lines = [Line("front", _stairs(priced, bill), GREY, dashed=True, kind="path")] if len(priced) > 1 else []
    lines += [Line(m.label, [_place(m.entry, bill)], m.colour, kind="points") for m in priced]
    title = COSTS[bill] + (", on a logarithmic scale" if log else "")
    return chart(Frame("Held-out accuracy", "share of questions", title, share=True, log=log, zero=False), lines)


def _place(entry: dict[str, Any], bill: str) -> Point:
    note = f"{money(bill, entry[bill])}{' FLOPs' * (bill == 'flops')}: {percent(entry['accuracy'])}"
    return Point(entry[bill], entry["accuracy"], entry["low"], entry["high"], note)


def _stairs(priced: Sequence[Method], bill: str) -> list[Point]:
    """Returns the corners of the best accuracy that so much has bought."""
    corners: list[Point] = []
    best = -1.0
    for method in sorted(priced, key=lambda m: (m.entry[bill], -m.entry["accuracy"])):
        cost, value = method.entry[bill], method.entry["accuracy"]
        if value > best:
            corners += [Point(cost, best), Point(cost, value)] if corners else [Point(cost, value)]
            best = value
    return [*corners, Point(max(method.entry[bill] for method in priced), best)]

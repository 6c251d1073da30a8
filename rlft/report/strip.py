"""Strips: an interval, its middle and single values on a horizontal line, as wide as there is room."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlft.report.markup import Html, el
from rlft.report.scale import Scale

HEIGHT, MIDDLE = 26, 13.0


@dataclass(frozen=True)
class Strip:
    """One row of an axis that several share.

    Attributes:
        value: its middle. low, high: the interval.
        dots: single values, each with what it is.
        colour: the class that colours it.
    """

    value: float
    low: float
    high: float
    dots: Sequence[tuple[float, str]]
    colour: str


def strip(row: Strip, scale: Scale, note: str, rule: float | None = None) -> Html:
    """Returns a row.

    Args:
        row: what is drawn. scale: from values to percent of the width.
        note: shown where the pointer rests on the interval.
        rule: a value marked by a line across, e.g. that of the untrained model.
    """
    parts = [_across(scale(tick), "grid") for tick in scale.ticks()]
    if rule is not None:
        parts.append(_across(scale(rule), "rule"))
    low, high, middle = scale(row.low), scale(row.high), scale(row.value)
    parts.append(el("line", class_="interval", x1=f"{low:.2f}%", x2=f"{high:.2f}%", y1=MIDDLE, y2=MIDDLE))
    parts += [
        el("circle", el("title", what), class_="dot", cx=f"{scale(value):.2f}%", cy=MIDDLE, r=4.0)
        for value, what in row.dots
    ]
    parts.append(el("line", class_="middle", x1=f"{middle:.2f}%", x2=f"{middle:.2f}%", y1=MIDDLE - 8, y2=MIDDLE + 8))
    return el("svg", el("title", note), *parts, class_=f"strip {row.colour}", height=str(HEIGHT), role="img")


def axis(scale: Scale, title: str, *, points: bool = False) -> Html:
    """Returns the numbers under strips: shares as percent, differences as points with a sign."""
    texts = [
        el(
            "text",
            f"{100 * tick:+g}".replace("+0", "0") if points else f"{100 * tick:g}%",
            x=f"{scale(tick):.2f}%", y="12", text_anchor="middle",
        )
        for tick in scale.ticks()
    ]  # fmt: skip
    name = el("text", title, class_="name", x="50%", y="29", text_anchor="middle")
    return el("svg", *texts, name, class_="strip axis", height="34", aria_hidden="true")


def _across(x: float, kind: str) -> Html:
    return el("line", class_=kind, x1=f"{x:.2f}%", x2=f"{x:.2f}%", y1="0", y2="100%")

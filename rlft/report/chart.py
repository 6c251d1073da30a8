"""Charts as inline SVG: lines with bands, and points with whiskers. Colours and sizes of text are the style sheet's."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from rlft.report.markup import Html, el, join
from rlft.report.scale import Scale, si, span

WIDTH, HEIGHT = 420.0, 240.0  # a phone's width, so that text is legible there; wider screens scale it up a little
LEFT, RIGHT, TOP, BOTTOM = 46.0, 14.0, 8.0, 38.0
COLOURS = 7  # in the style sheet, beside grey
GREY = -1  # the colour of what is there for comparison
FEW = 12  # points, up to which each has a mark


@dataclass(frozen=True)
class Point:
    """A place in a chart, with an interval around y; `note` is shown where the pointer rests on it."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        label: its name in the legend.
        points: by ascending x.
        colour: its place in the palette, which gives it a mark of its own as well.
        dashed: drawn with gaps; for what is there for comparison.
        kind: "curve" is a line with its intervals as a band; "points" are marks with their intervals as whiskers;
            "path" is a line and no more.
    """

    label: str
    points: Sequence[Point]
    colour: int = 0
    dashed: bool = False
    kind: Literal["curve", "points", "path"] = "curve"


@dataclass(frozen=True)
class Frame:
    """What surrounds the curves.

    Attributes:
        title: what stands over the chart. unit: of the vertical axis. x_title: what the horizontal one shows.
        share: y is a share, drawn within 0 and 1, in percent.
        log: x is drawn on a logarithmic scale.
        zero: x starts at 0.
        ticks: places and texts on the horizontal axis; round numbers if there are none.
    """

    title: str
    unit: str
    x_title: str
    share: bool = False
    log: bool = False
    zero: bool = True
    ticks: Sequence[tuple[float, str]] = field(default_factory=tuple)


def legend(lines: Sequence[Line]) -> Html:
    """Returns names beside their colours and marks."""
    swatches = [
        el(
            "li",
            el(
                "svg",
                el("path", class_=_stroke(line), d="M0 7H28"),
                mark(14, 7, line.colour),
                width="28", height="14", aria_hidden="true", class_=colour_of(line.colour),
            ),
            line.label,
        )
        for line in lines
    ]  # fmt: skip
    return el("ul", *swatches, class_="legend")


def chart(frame: Frame, lines: Sequence[Line]) -> Html:
    """Returns a figure of one line at least, each with a point at least."""
    points = [point for line in lines for point in line.points]
    y_scale = Scale(*span(_heights(points), share=frame.share), HEIGHT - BOTTOM, TOP)
    x_scale = _x_scale(frame, [point.x for point in points])
    drawn = [_line(line, x_scale, y_scale) for line in lines]
    picture = el(
        "svg",
        _grid(frame, x_scale, y_scale),
        *drawn,
        viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}", role="img", aria_label=f"{frame.title}, {frame.unit}",
    )  # fmt: skip
    return el("figure", el("figcaption", el("b", frame.title), f" {frame.unit}"), picture)


def mark(x: float, y: float, colour: int, size: float = 3.6) -> Html:
    """Returns a mark whose shape goes with the colour: not everyone can tell colours apart."""
    shapes = (
        ("circle", ()),
        ("square", ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9))),
        ("triangle", ((0, -1.2), (1.15, 0.9), (-1.15, 0.9))),
        ("diamond", ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0))),
        ("wedge", ((0, 1.2), (1.15, -0.9), (-1.15, -0.9))),
        ("bar", ((-0.45, -1.3), (0.45, -1.3), (0.45, 1.3), (-0.45, 1.3))),
    )
    _, corners = shapes[colour % len(shapes)]
    if not corners:
        return el("circle", class_="mark", cx=x, cy=y, r=size)
    path = "L".join(f"{x + size * dx:.1f} {y + size * dy:.1f}" for dx, dy in corners)
    return el("path", class_="mark", d=f"M{path}Z")


def colour_of(number: int) -> str:
    """Returns the class that colours a curve, a strip or a mark."""
    return "grey" if number == GREY else f"c{number % COLOURS}"


def _stroke(line: Line) -> str:
    return "line dashed" if line.dashed else "line"


def _heights(points: Sequence[Point]) -> list[float]:
    return [y for point in points for y in (point.y, point.low, point.high) if y is not None]


def _x_scale(frame: Frame, xs: list[float]) -> Scale:
    low, high = min(xs), max(xs)
    if frame.log:
        low, high = low / 1.25, high * 1.25
    else:
        low = min(0.0, low) if frame.zero else low
        high = high if high > low else low + 1
    return Scale(low, high, LEFT, WIDTH - RIGHT, frame.log)


def _grid(frame: Frame, x_scale: Scale, y_scale: Scale) -> Html:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts: list[Html] = []
    for value in y_scale.ticks():
        y = y_scale(value)
        text = f"{100 * value:g}%" if frame.share else si(value)
        parts.append(el("path", class_="grid", d=f"M{LEFT:.1f} {y:.1f}H{right:.1f}"))
        parts.append(el("text", text, x=LEFT - 6, y=y + 4, text_anchor="end"))
    for value, text in frame.ticks or [(value, si(value)) for value in x_scale.ticks()]:
        x = x_scale(value)
        parts.append(el("path", class_="tick", d=f"M{x:.1f} {bottom:.1f}v4"))
        parts.append(el("text", text, x=x, y=bottom + 17, text_anchor="middle"))
    parts.append(el("path", class_="axis", d=f"M{LEFT:.1f} {bottom:.1f}H{right:.1f}"))
    parts.append(el("text", frame.x_title, class_="name", x=(LEFT + right) / 2, y=HEIGHT - 4, text_anchor="middle"))
    return join(*parts)


def _line(line: Line, x_scale: Scale, y_scale: Scale) -> Html:
    places = [(x_scale(point.x), y_scale(point.y), point) for point in line.points]
    path = el("path", class_=_stroke(line), d=_path([(x, y) for x, y, _ in places]))
    if line.kind == "path":
        return el("g", path, class_=colour_of(line.colour))
    if line.kind == "points" or len(places) == 1:
        parts = [_whisker(x, y_scale, point) for x, _, point in places]
    else:
        parts = [_band(places, y_scale), path]
    marked = places if len(places) <= FEW or line.kind == "points" else places[-1:]
    parts += [mark(x, y, line.colour) for x, y, _ in marked]
    parts += [_target(x, y, line, point) for x, y, point in places]
    return el("g", *parts, class_=colour_of(line.colour))


def _band(places: list[tuple[float, float, Point]], y_scale: Scale) -> Html:
    upper = [(x, y_scale(point.high)) for x, _, point in places if point.high is not None]
    lower = [(x, y_scale(point.low)) for x, _, point in places if point.low is not None]
    return join() if len(upper) < 2 else el("path", class_="band", d=_path([*upper, *reversed(lower)]) + "Z")


def _whisker(x: float, y_scale: Scale, point: Point) -> Html:
    if point.low is None or point.high is None:
        return join()
    low, high = y_scale(point.low), y_scale(point.high)
    return el(
        "path", class_="whisker", d=f"M{x:.1f} {low:.1f}V{high:.1f}M{x - 3:.1f} {low:.1f}h6M{x - 3:.1f} {high:.1f}h6"
    )


def _target(x: float, y: float, line: Line, point: Point) -> Html:
    note = point.note or f"{si(point.x)}: {point.y:.3g}"
    return el("circle", el("title", f"{line.label} · {note}"), class_="target", cx=x, cy=y, r=7.0)


def _path(places: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)

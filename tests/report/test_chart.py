"""Charts as SVG: where points are drawn, and what is escaped."""

import re

import pytest

from rlft.report.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Frame, Line, Point, chart
from rlft.report.markup import el, join
from rlft.report.scale import Scale, log_ticks, span, ticks
from rlft.report.strip import Strip, axis, strip

FRAME = Frame("Accuracy", "share", "step", share=True)


def test_a_line_goes_from_corner_to_corner_of_its_axes() -> None:
    drawn = chart(FRAME, [Line("a", [Point(0, 0.0), Point(4, 1.0)])])
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    assert f'class="line" d="M{LEFT:.1f} {bottom:.1f}L{right:.1f} {TOP:.1f}"' in drawn
    assert ">0%<" in drawn and ">100%<" in drawn and ">4<" in drawn


def test_a_band_goes_up_one_side_and_down_the_other() -> None:
    points = [Point(0, 0.5, 0.0, 1.0), Point(1, 0.5, 0.0, 1.0)]
    drawn = chart(FRAME, [Line("a", points)])
    (band,) = re.findall(r'class="band" d="([^"]*)"', drawn)
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    corners = ((LEFT, TOP), (right, TOP), (right, bottom), (LEFT, bottom))
    assert band == "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners) + "Z"


def test_points_have_whiskers_and_no_line() -> None:
    drawn = chart(FRAME, [Line("a", [Point(1, 0.5, 0.2, 0.8), Point(2, 0.5)], kind="points")])
    assert drawn.count('class="whisker"') == 1 and 'class="line"' not in drawn
    assert drawn.count('class="mark"') == 2


def test_names_and_notes_are_text() -> None:
    drawn = chart(Frame("<x>", "<y>", "<z>"), [Line("<a>", [Point(0, 1, note="<n>"), Point(1, 2)])])
    assert not re.search(r"<[axyzn]>", drawn)
    assert "&lt;a&gt; · &lt;n&gt;" in drawn


@pytest.mark.parametrize("values", [[0.0], [1.0], [0.5, 0.5], [-2.0], [1e-9, 2e-9], [3e15, 3.0001e15], [-1.0, 5.0]])
def test_an_axis_holds_all_values_and_has_ticks(values: list[float]) -> None:
    low, high = span(values)
    assert low < high and low <= min(values) and high >= max(values)
    marks = ticks(low, high)
    assert 2 <= len(marks) <= 12 and all(low - 1e-9 * abs(low) <= tick <= high * (1 + 1e-9) for tick in marks)


@pytest.mark.parametrize("values", [[0.0], [1.0], [0.5], [0.02, 0.98], [0.7, 0.9]])
def test_an_axis_of_shares_ends_at_0_and_1(values: list[float]) -> None:
    low, high = span(values, share=True)
    assert 0 <= low <= min(values) and max(values) <= high <= 1 and low < high


def test_a_logarithmic_axis_puts_equal_ratios_at_equal_distances() -> None:
    scale = Scale(1e12, 1e16, 0, 100, log=True)
    assert [round(scale(10.0**power)) for power in (12, 13, 14, 15, 16)] == [0, 25, 50, 75, 100]
    assert log_ticks(1e12, 1e16) == [1e12, 1e13, 1e14, 1e15, 1e16]


def test_a_strip_is_drawn_in_percent_of_its_width() -> None:
    row = Strip(0.5, 0.25, 0.75, [(0.4, "seed <0>")], "c0")
    drawn = strip(row, Scale(0, 1, 0, 100), "note", rule=0.1)
    assert 'class="interval" x1="25.00%" x2="75.00%"' in drawn and 'class="middle" x1="50.00%"' in drawn
    assert 'class="dot" cx="40.00%"' in drawn and "seed &lt;0&gt;" in drawn
    assert 'class="rule" x1="10.00%"' in drawn
    assert ">-10<" in axis(Scale(-0.1, 0.1, 0, 100), "", points=True)


def test_only_elements_are_markup() -> None:
    assert join("<b>", el("i", "<b>")) == "&lt;b&gt;<i>&lt;b&gt;</i>"
    assert el("a", href='"><script>') == '<a href="&quot;&gt;&lt;script&gt;"></a>'

"""Curves a character high, for a terminal."""

from collections.abc import Sequence

BARS = " ▁▂▃▄▅▆▇█"


def sparks(curves: Sequence[Sequence[float | None]], width: int) -> list[str]:
    """Returns a line for each curve, of its latest `width` values, from 0 to the greatest of them all; a space where
    there is none.

    >>> sparks([[4.0, 2.0, 8.0], [None, 0.5, 1.0]], 2)
    ['▂█', '▁▁']
    """
    shown = [curve[-width:] for curve in curves]
    top = max((value for curve in shown for value in curve if value is not None), default=0.0) or 1.0
    return ["".join(" " if v is None else BARS[max(1, round(8 * v / top))] for v in curve) for curve in shown]

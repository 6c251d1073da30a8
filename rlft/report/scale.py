"""From values to places on an axis, and to numbers for people."""

import math
from dataclasses import dataclass

PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`, drawn from `start` to `end`; logarithmic with `log`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Returns the place of a value.

        >>> Scale(0, 10, 0, 100)(2.5), Scale(1, 100, 0, 100, log=True)(10)
        (25.0, 50.0)
        """
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Returns round values on the axis."""
        return log_ticks(self.low, self.high) if self.log else ticks(self.low, self.high, count)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Returns multiples of 1, 2 or 5 times a power of ten, at most about `count`.

    >>> ticks(0, 1), ticks(-0.3, 7.2, 4)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0, 2.0, 4.0, 6.0])
    """
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda step: abs(math.log(step / rough)))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    # A step is a decimal fraction, which a product of floats is not quite.
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return [round(i * step, digits) + 0.0 for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Returns powers of ten, with 2 and 5 times them where the axis is short.

    >>> log_ticks(3, 40), log_ticks(1, 1e6)
    ([5.0, 10.0, 20.0], [1.0, 10.0, 100.0, 1000.0, 10000.0, 100000.0, 1000000.0])
    """
    factors = (1, 2, 5) if math.log10(high / low) < 2.5 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [float(factor) * 10.0**power for power in powers for factor in factors]
    return [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]


def span(values: list[float], *, share: bool = False) -> tuple[float, float]:
    """Returns the ends of an axis that holds all values, with some room; from 0 where that is not far off. A share's is
    between 0 and 1.

    >>> span([2.0, 10.0]), span([0.0, 0.0], share=True)
    ((0.0, 10.4), (0.0, 1.0))
    """
    low, high = min(values), max(values)
    if low >= 0 and low < 0.5 * high:
        low = 0.0
    if low == high:
        low, high = (0.0, 1.0) if low == 0 else sorted((0.0, 2 * low))
    else:
        room = 0.04 * (high - low)
        low, high = low - room * (low != 0), high + room
    return (max(0.0, low), min(1.0, high)) if share else (low, high)


def si(value: float) -> str:
    """Returns a number of three digits with its prefix.

    >>> si(41781), si(2.07e15), si(0.0314), si(0), si(-1500), si(999.96)
    ('41.8k', '2.07P', '0.0314', '0', '-1.5k', '1k')
    """
    value = float(f"{value:.3g}")
    for size, prefix in PREFIXES:
        if abs(value) >= size:
            return f"{value / size:.3g}{prefix}"
    return f"{value:.3g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.0e}".replace("e-0", "e-")


def percent(value: float | None, sign: str = "") -> str:
    """Returns a share for people.

    >>> percent(0.6849), percent(0.031, "+"), percent(None)
    ('68.5%', '+3.1%', '–')
    """
    return "–" if value is None else f"{100 * value:{sign}.1f}%"


def duration(seconds: float) -> str:
    """Returns a time for people.

    >>> duration(8.44), duration(95), duration(7300)
    ('8.4 s', '1.6 min', '2.0 h')
    """
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

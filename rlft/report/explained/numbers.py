"""Numbers of a method on one completion, for people: shades of a coefficient, and what is the same for all tokens."""

from collections.abc import Callable
from dataclasses import dataclass

from rlft.theory.explain import Method

SHADES = 5
GC = "GC"


def shade(value: float, largest: float) -> int:
    """Returns the shade of a coefficient: 0 for nothing, ±1 to ±`SHADES` by its share of the largest there is.

    >>> [shade(value, 2.0) for value in (0.0, 0.001, -0.9, 2.0)]
    [0, 1, -3, 5]
    """
    if value == 0:
        return 0
    share = min(SHADES, 1 + int(SHADES * abs(value) / largest))
    return share if value > 0 else -share


def largest(method: Method) -> float:
    """Returns the greatest |GC| of a method; what its shades are relative to."""
    return max((abs(value) for row in method.gc for value in row), default=0.0) or 1.0


def signed(value: float) -> str:
    """Returns a number of three digits with its sign.

    >>> signed(0.70711), signed(-0.0), signed(-1.5e-7), signed(1e6)
    ('+0.707', '0', '-1.5e-07', '+1e+06')
    """
    return "0" if value == 0 else f"{value:+.3g}"


def plain(value: float) -> str:
    """Returns a number of three digits.

    >>> plain(1.0), plain(-0.0), plain(0.020833)
    ('1', '0', '0.0208')
    """
    return "0" if value == 0 else f"{value:.3g}"


@dataclass(frozen=True)
class Column:
    """What is known of each token of a completion.

    Attributes:
        name: of the coefficient, a term, a factor or the weight. values: by token. write: a value as text.
    """

    name: str
    values: list[float]
    write: Callable[[float], str]

    @property
    def varies(self) -> bool:
        """Whether tokens differ in it."""
        return len(set(self.values)) > 1

    @property
    def range(self) -> str:
        """The value, or from the least to the greatest."""
        low, high = (self.write(end) for end in (min(self.values, default=0.0), max(self.values, default=0.0)))
        return low if low == high else f"{low} to {high}"


def columns(method: Method, place: int) -> list[Column]:
    """Returns what is known of the tokens of a completion, by its place among the method's rows: coefficient, terms
    where there are several, factors, weight."""
    terms = method.terms if len(method.terms) > 1 else {}
    factors = {symbol: values for symbol, values in method.factors.items() if symbol not in terms}
    return [
        Column(GC, method.gc[place], signed),
        *(Column(text, values[place], signed) for text, values in terms.items()),
        *(Column(symbol, values[place], plain) for symbol, values in factors.items()),
        Column("w", method.weight[place], plain),
    ]

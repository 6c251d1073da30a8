"""How hard a question is: by a column of the data, by π_ref's pass rate, or by the level of its task."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from rlft.base import Curriculum, Pool, Query, UserError

_NUMBER = re.compile(r"(?:(?<!\w)-)?\d+(?:\.\d+)?")  # the hyphen of "level-5" is no sign


@dataclass(kw_only=True)
class Graded(Curriculum):
    """A curriculum that goes by difficulty: the column's value if there is a `column`, the share of wrong answers if it
    is to `measure`, else the level of the task (`data.task_levels`).

    Attributes:
        column: a column of the data, harder the larger: a number, or text with one number in it ("Level 5").
        column_order: the column's values from easy to hard, where they are words.
        measure: answers of π_ref to each question, sampled once when the run starts and kept as those of RFT are; they
            are on the run's bill. 0 measures nothing.
        pool: questions that are drawn at all, a fair choice of them; null takes all.
    """

    column: str | None = None
    column_order: list[str] = field(default_factory=list)
    measure: int = 0
    pool: int | None = None

    def __post_init__(self) -> None:
        self._pool: Pool | None = None
        self._rows: list[int] = []
        self._grades: list[float] = []
        self._measured: list[float] | None = None
        if self.measure < 0:
            raise UserError(f"curriculum.measure={self.measure}: expected a whole number of at least 0")
        if self.pool is not None and self.pool < 1:
            raise UserError(f"curriculum.pool={self.pool}: expected a whole number of at least 1, or null for all")
        if self.column is not None and self.measure:
            raise UserError("curriculum.column and curriculum.measure both say how hard a question is: give one")
        if self.column_order and self.column is None:
            raise UserError("curriculum.column_order is the order of a column's values: give curriculum.column=COLUMN")

    @property
    def scale(self) -> str:
        """What difficulty is measured in."""
        if self.column is not None:
            return self.column
        return "share of wrong answers" if self.measure else "level"

    @property
    def name(self) -> str:
        """E.g. "sorted by share of wrong answers"; by level if nothing else is said."""
        return f"{self.label} by {self.scale}"

    @property
    def needs(self) -> frozenset[str]:
        """A source whose rows may come in any order, and what tells how hard they are."""
        if self.column is not None:
            return super().needs
        return super().needs | {"measure" if self.measure else "levels"}

    @property
    def columns(self) -> tuple[str, ...]:
        return () if self.column is None else (self.column,)

    def bind(self, pool: Pool) -> None:
        """Grades the rows that may be drawn."""
        self._pool = pool
        chosen = set(sorted({query.id for query in pool.queries})[: self.pool])
        self._rows = [row for row, query in enumerate(pool.queries) if query.id in chosen]
        queries = [pool.queries[row] for row in self._rows]
        if self.measure:
            self._measured = pool.measure(queries, self.measure)
            self._grades = [1 - share for share in self._measured]
        else:
            self._grades = [self._grade(query) for query in queries]

    def _bound(self) -> Pool:
        if self._pool is None:
            raise RuntimeError("bind() comes before the first draw")
        return self._pool

    def _grade(self, query: Query) -> float:
        if self.column is None:
            return float(query.metadata.get("level", 0))
        value = query.metadata.get("columns", {}).get(self.column)
        where = f"curriculum.column={self.column}: row {query.metadata.get('row')} has {value!r}"
        if self.column_order:
            if str(value) not in self.column_order:
                raise UserError(f"{where}, which curriculum.column_order={self.column_order} does not have")
            return float(self.column_order.index(str(value)))
        grade = _number(value)
        if grade is None:
            raise UserError(
                f"{where}; expected a number, or text with one number in it. Of words type them from easy to hard: "
                "curriculum.column_order=[easy,medium,hard]"
            )
        return grade


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        found = _NUMBER.findall(value)
        return float(found[0]) if len(found) == 1 else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if isfinite(value) else None


def buckets(grades: Sequence[float], most: int) -> list[int]:
    """Returns the number of each grade's bucket, 0 the easiest. Each grade has a bucket of its own if there are no more
    than `most`; otherwise neighbours are put together to about as many rows in each. Equal grades stay together.

    >>> buckets([3, 1, 3, 2], 10)
    [2, 0, 2, 1]
    >>> buckets([1, 2, 3, 4, 5, 5], 3)
    [0, 0, 1, 1, 2, 2]
    """
    ranked = sorted(grades)
    first = {grade: place for place, grade in reversed(list(enumerate(ranked)))}
    if len(first) > most:
        first = {grade: place * most // len(ranked) for grade, place in first.items()}
    number = {place: i for i, place in enumerate(sorted(set(first.values())))}
    return [number[first[grade]] for grade in grades]

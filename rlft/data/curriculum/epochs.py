"""Every question once an epoch: without a curriculum, and easy to hard."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch

from rlft.base import Curriculum, Pool, generator
from rlft.data.curriculum.graded import Graded


class Epochs(Curriculum):
    """Goes over the rows epoch by epoch; that of a position is known without those before it."""

    _order: tuple[int, list[int]] = (-1, [])

    def next(self, position: int, n: int) -> list[int]:
        rows: list[int] = []
        while len(rows) < n:
            epoch, start = divmod(position + len(rows), self._size())
            if self._order[0] != epoch:
                self._order = (epoch, self._arranged(epoch))
            rows += self._order[1][start : start + n - len(rows)]
        return rows

    @abstractmethod
    def _size(self) -> int:
        """Returns the number of rows in an epoch."""

    @abstractmethod
    def _arranged(self, epoch: int) -> list[int]:
        """Returns all rows in the order of an epoch."""


@dataclass(kw_only=True)
class NoCurriculum(Epochs):
    """Every row once an epoch, in an order drawn anew for each, or (`data.shuffle=false`) in that of the data."""

    label: ClassVar[str] = "none"

    def __post_init__(self) -> None:
        self._pool: Pool | None = None

    @property
    def needs(self) -> frozenset[str]:
        """Nothing: a source that knows of no curriculum has none."""
        return frozenset()

    def bind(self, pool: Pool) -> None:
        self._pool = pool

    def _size(self) -> int:
        assert self._pool is not None
        return len(self._pool.queries)

    def _arranged(self, epoch: int) -> list[int]:
        assert self._pool is not None
        return shuffled(len(self._pool.queries), self._pool, epoch)


@dataclass(kw_only=True)
class Sorted(Graded, Epochs):
    """Every row once an epoch, from easy to hard (Bengio et al., "Curriculum learning", ICML 2009); rows as hard as
    each other are shuffled anew for each epoch.

    A run shorter than an epoch would see the easy end alone: `pool` = steps · prompts_per_step takes it through to the
    hard end.
    """

    label: ClassVar[str] = "sorted"

    def bind(self, pool: Pool) -> None:
        super().bind(pool)
        low, high = min(self._grades), max(self._grades)
        pool.say(f"curriculum: {len(self._rows)} rows from easy to hard, {self.scale} {low:g} to {high:g}")

    def next(self, position: int, n: int) -> list[int]:
        places = super().next(position, n)
        self._latest = sum(self._grades[place] for place in places) / n
        return [self._rows[place] for place in places]

    def metrics(self) -> dict[str, float | None]:
        """Returns the mean difficulty of what was drawn."""
        return {"difficulty": self._latest}

    def _size(self) -> int:
        return len(self._rows)

    def _arranged(self, epoch: int) -> list[int]:
        return sorted(shuffled(len(self._rows), self._bound(), epoch), key=self._grades.__getitem__)


def shuffled(size: int, pool: Pool, epoch: int) -> list[int]:
    """Returns the numbers below `size` in the order of an epoch."""
    if not pool.shuffle:
        return list(range(size))
    return torch.randperm(size, generator=generator(pool.seed, "shuffle", epoch)).tolist()

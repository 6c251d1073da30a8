"""The curriculum plugin: which of a data source's questions come next."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rlft.base.errors import UserError
from rlft.base.types import Group, Query

MISSING = {
    "order": "this data source has an order of its own: type curriculum=none",
    "feedback": "it goes by how the policy answers now, and this data source does not ask it: type data=online, or "
    "curriculum=sorted",
    "measure": "curriculum.measure= lets π_ref answer, for which data=online is needed; or type curriculum.measure=0 "
    "curriculum.column=COLUMN",
    "levels": "it has to know how hard a question is: type data.task_levels=N (of a reasoning-gym task), "
    "curriculum.column=COLUMN, or with data=online curriculum.measure=N",
}
"""What a curriculum may need of a data source, and what to do where the source cannot offer it."""


@dataclass(frozen=True)
class Pool:
    """What a curriculum chooses from.

    Attributes:
        queries: the query of each row of an epoch.
        seed: the run's.
        shuffle: whether rows that the curriculum has no order for are shuffled; otherwise they stay as they are.
        measure: returns π_ref's share of right answers to each query, out of so many sampled once and kept.
        say: prints one line for the user.
    """

    queries: Sequence[Query]
    seed: int
    shuffle: bool
    measure: Callable[[list[Query], int], list[float]]
    say: Callable[[str], None]


class Curriculum(ABC):
    """A component of the data source. Subclasses are dataclasses whose fields are the schema of the recipe's
    `curriculum` node.

    What it chooses may depend on the rows drawn so far, on what it observed, and on draws by generators named after
    the seed and the position: then a resumed run goes on as it would have, and all processes choose alike.

    Attributes:
        label: what it is called.
    """

    label: ClassVar[str]

    @property
    def name(self) -> str:
        """What heads a run, e.g. "adaptive"."""
        return self.label

    @property
    def needs(self) -> frozenset[str]:
        """What it must be offered by the data source (see `DataSource.offers`), out of `MISSING`."""
        return frozenset({"order"})

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the data that it reads in `Query.metadata["columns"]`."""
        return ()

    def check(self, offers: frozenset[str]) -> None:
        """Raises UserError if a data source does not offer what is needed."""
        for need in sorted(self.needs - offers):
            raise UserError(f"curriculum={self.label}: {MISSING[need]}")

    @abstractmethod
    def bind(self, pool: Pool) -> None:
        """Takes in the rows to choose from; called once, before all else. Raises UserError with the row named."""

    @abstractmethod
    def next(self, position: int, n: int) -> list[int]:
        """Returns the indices of the next n rows, after `position` rows that were drawn from the start of the run."""

    def observe(self, groups: list[Group]) -> None:  # noqa: B027  # most orders are fixed
        """Takes in what was drawn, with the rewards that the reward function gave, once a step, on every process."""

    def metrics(self) -> dict[str, float | None]:
        """Returns what metrics.jsonl gets of the latest draw under curriculum/NAME."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Returns what it has learnt, as plain JSON values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027  # most have no state
        """Restores what `state_dict` returned."""

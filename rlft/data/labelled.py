"""Recorded completions that are good or bad, each for itself."""

from dataclasses import dataclass, replace
from typing import ClassVar

from rlft.base import Context, Group, Query, UserError
from rlft.data.examples import Example
from rlft.data.judged import Judged


@dataclass(kw_only=True)
class Labelled(Judged):
    """Groups of one completion, with its label, 1 for good and 0 for bad, in the query's metadata.

    From rows with prompt, completion and label, or from pairs and GSM8K model solutions, whose members are then taken
    one by one. For methods that need no pairs, as KTO.
    """

    kind: ClassVar[str] = "labelled"

    def check(self, training: bool = True) -> None:
        """Checks the settings alone. Raises UserError."""
        super().check(training)
        if self.task is not None:
            raise UserError(
                f"data.task={self.task}: a task has no recorded completions with labels. To sample completions that a "
                "rule judges: data=offline data.keep=all"
            )

    def _prepare(self, context: Context, rows: list[tuple[Example, Query]]) -> None:
        self._groups = []
        long = 0
        for example, query in rows:
            for texts, label in ((example.right, 1), (example.wrong, 0)):
                labelled = replace(query, metadata=query.metadata | {"label": label})
                kept = self._short_enough(example, query, texts)
                long += len(texts) - len(kept)
                self._groups += [Group(labelled, (completion,)) for completion in kept]
        if rows and not any(example.right or example.wrong for example, _ in rows):
            raise UserError(
                f"{self.name}: the rows have no labels; expected prompt, completion and label (true or false), or "
                "chosen and rejected. To name the columns: data.columns='{prompt: COLUMN, completion: COLUMN, label: "
                "COLUMN}'"
            )
        self._say_dropped(long)
        good = sum(group.query.metadata["label"] for group in self._groups)
        self.labels = good, len(self._groups) - good
        context.say("data: {} good and {} bad completions".format(*self.labels))

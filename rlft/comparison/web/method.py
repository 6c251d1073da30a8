"""A method of a comparison as the page sees it: its entry in the result, and its runs' files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlft.base.nested import flat
from rlft.report.chart import Line, legend
from rlft.report.files import Files
from rlft.report.markup import Html


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        entry: of the result's `methods`. runs: one per seed. colour: its place in the palette, the same in all charts.
    """

    entry: dict[str, Any]
    runs: tuple[Files, ...]
    colour: int

    @property
    def label(self) -> str:
        """Its name."""
        return str(self.entry["label"])

    @property
    def config(self) -> dict[str, Any]:
        """The recipe of its first run, flat."""
        return flat(self.runs[0].config)

    @property
    def base(self) -> float | None:
        """Accuracy of the untrained model, at the recipe's limit or at 128 tokens, whichever went better."""
        evaluated = self.runs[0].summary.get("eval") or {}
        known = [evaluated.get(key) for key in ("accuracy_before", "accuracy_before_long")]
        return max((value for value in known if value is not None), default=None)


def methods(result: dict[str, Any]) -> list[Method]:
    """Returns the methods of a comparison in its order, the most accurate first."""
    return [
        Method(entry, tuple(Files(Path(path)) for path in entry["paths"]), number)
        for number, entry in enumerate(result["methods"])
    ]


def named(known: list[Method]) -> Html:
    """Returns the methods' names beside their colours and marks."""
    return legend([Line(method.label, (), method.colour) for method in known])

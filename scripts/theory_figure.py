"""A figure of docs/theory: what all of them share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COLOURS = ("#7a7a7a", "#c8553d", "#1f5fa8", "#2f8f5b", "#8a5fb0")


@contextmanager
def figure(path: Path, panels: int) -> Iterator[Any]:
    """Yields so many axes side by side, and writes the figure as SVG: the same numbers give the same file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    # A fixed salt and no date, or every drawing would be another file.
    with pyplot.rc_context({"svg.hashsalt": path.name, "font.size": 9}):
        drawn, axes = pyplot.subplots(1, panels, figsize=(4.2 * panels, 3.4), layout="constrained")
        for axis in axes:
            axis.spines[["top", "right"]].set_visible(False)
        yield axes
        drawn.savefig(path, format="svg", metadata={"Date": None})
        pyplot.close(drawn)

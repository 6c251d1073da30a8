"""A figure of docs/theory: the same numbers give the same file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COLOURS = ("#1f5fa8", "#c8553d", "#2f8f5b", "#8a5fa8", "#7a7a7a")


@contextmanager
def figure(path: Path, panels: int = 1, same_height: bool = False) -> Iterator[Sequence[Any]]:
    """Yields that many axes side by side, and writes them to an SVG.

    Args:
        path: the file. panels: how many. same_height: whether they share the vertical axis.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    # A fixed salt and no date: nothing of the file depends on when and where it was drawn.
    with pyplot.rc_context({"svg.hashsalt": path.name, "font.size": 9}):
        size = (6 if panels == 1 else 4 * panels, 3.4)
        drawn, axes = pyplot.subplots(1, panels, figsize=size, sharey=same_height, squeeze=False, layout="constrained")
        yield axes[0]
        for axis in axes[0]:
            axis.spines[["top", "right"]].set_visible(False)
        drawn.savefig(path, format="svg", metadata={"Date": None})
        pyplot.close(drawn)

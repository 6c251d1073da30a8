"""The nine parts of the page, put together."""

from pathlib import Path
from typing import Any

from rlft.comparison.web import plots, quality, settings, verdict
from rlft.comparison.web.method import methods
from rlft.report.frame import document


def page(result: dict[str, Any], out: Path) -> str:
    """Returns compare.html.

    Args:
        result: what `rlft.comparison.compare` returns; the page reads the files of its runs as well.
        out: the directory of the comparison, for the command that repeats it.

    Raises:
        UserError: a file of a run is malformed.
    """
    known = methods(result)
    counts = sum(len(method.runs) for method in known)
    given = verdict.budget(result)
    labels = ", ".join(method.label for method in known)
    questions = max(method.entry["n"] for method in known)
    return document(
        f"Comparison of {len(known)} method{'s' * (len(known) > 1)}",
        f"{labels} · {counts} runs, {questions} held-out questions" + (f" · {given}" if given else ""),
        [
            verdict.verdict(result, known),
            verdict.leaderboard(result, known),
            plots.curves(known, result["budget"] and result["budget"]["unit"]),
            plots.front(known),
            quality.passes(result, known),
            quality.regressions(result, known),
            settings.flipped(known),
            settings.differences(known),
            settings.repeat(result, known, out),
        ],
    )

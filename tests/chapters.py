"""What a chapter of docs/theory states."""

import re
from pathlib import Path

THEORY = Path(__file__).parents[1] / "docs" / "theory"


def stated(chapter: str, pattern: str) -> list[float]:
    """Returns the numbers of a chapter where it says so, `#` standing for each; line breaks are spaces."""
    text = " ".join((THEORY / chapter).read_text(encoding="utf-8").split())
    found = re.search(re.escape(pattern).replace(r"\#", r"(\d+(?:\.\d+)?)"), text)
    assert found is not None, f"{chapter} does not say: {pattern}"
    return [float(number) for number in found.groups()]

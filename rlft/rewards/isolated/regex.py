"""Whether a text has a format. A pattern can take exponential time, and `re` cannot be interrupted."""

import re


def matches(pattern: str, whole: bool, text: str) -> bool:
    """Returns whether the pattern matches the whole text, or is found anywhere in it; "." matches line ends too."""
    compiled = re.compile(pattern, re.DOTALL)
    return (compiled.fullmatch if whole else compiled.search)(text) is not None

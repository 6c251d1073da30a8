"""Whether two LaTeX answers are equal, by math-verify."""

import logging

from math_verify import parse, verify

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own time limits are off, as they should be


def equal(gold: str, answer: str) -> bool:
    """Returns whether `answer` is right given `gold`; both are LaTeX without delimiters.

    The gold goes first: `verify` is not symmetric. math-verify's own time limits (SIGALRM) are off, because the process
    this runs in is killed when its time is up.
    """
    expected, given = (parse(f"\\boxed{{{text}}}", parsing_timeout=0) for text in (gold, answer))
    return bool(expected) and bool(given) and verify(expected, given, timeout_seconds=0)


equal("\\frac{1}{2}", "x^2")  # the first call builds parsers: now, while the module loads, not in a completion's time

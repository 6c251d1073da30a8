"""The reward of both sides: a number made of the text's hash.

It takes no time worth counting. Completions that differ have rewards that differ, and those of a group that are all
alike stay in the update for β > 0: neither side leaves one out.
"""

import hashlib


def noise(text: str) -> float:
    """Returns a number in [0, 1) that depends on the text alone.

    >>> noise("a") == noise("a") != noise("b")
    True
    """
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48

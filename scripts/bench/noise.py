"""The reward of both sides: a number made of the text's hash.

Every group has unequal rewards, so that no completion's gradient is zero and neither side may leave one out; and it
takes no time worth counting.
"""

import hashlib


def noise(text: str) -> float:
    """Returns a number in [0, 1) that depends on the text alone.

    >>> noise("a") == noise("a") != noise("b")
    True
    """
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48

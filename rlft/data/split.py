"""The held-out split: decided by a question's id alone."""


def bucket(query_id: str) -> float:
    """Returns where in [0, 1) the hash of a question falls.

    >>> bucket("8000000000000000")
    0.5
    """
    return int(query_id[:13], 16) / 16**13


def is_held_out(query_id: str, share: float) -> bool:
    """Returns whether a question is kept for evaluation.

    It depends on the question alone: neither on the seed, the order of the rows nor the file it came in. What is held
    out at a smaller share is held out at a larger one.

    Args:
        query_id: from `rlft.base.question_id`.
        share: of all questions, in [0, 1).
    """
    return bucket(query_id) < share


def is_validation(query_id: str, held_out: float, share: float) -> bool:
    """Returns whether a question is kept for choosing settings: the share of all questions next to the held-out one, so
    that what is chosen by it says nothing of the latter."""
    return held_out <= bucket(query_id) < held_out + share

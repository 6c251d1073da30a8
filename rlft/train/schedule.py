"""Learning-rate schedules."""

import math
from collections.abc import Callable
from typing import Literal


def schedule(
    kind: Literal["constant", "linear", "cosine"],
    warmup: int,
    total: int,
    spent: Callable[[], float] | None = None,
) -> Callable[[int], float]:
    """Returns the factor on the learning rate at each optimiser step: a linear rise over `warmup` steps, then constant,
    or falling to 0 at `total` in a line or a half cosine. Where `spent` says which share of a budget is gone, it falls
    with that instead, a batch behind.

    >>> [round(schedule("linear", 2, 4)(i), 3) for i in range(5)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if kind == "constant":
            return 1.0
        done = spent() if spent else min(1.0, (step - warmup) / max(1, total - warmup))
        return 1 - done if kind == "linear" else 0.5 * (1 + math.cos(math.pi * done))

    return factor

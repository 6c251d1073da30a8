"""Whether gradients still point somewhere: a t test on their products with what went before."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

WINDOW = 20  # products that the estimates are taken over
LEAST = 40  # steps without a signal before it is said
HISTORY = 2000  # products that are looked back on
LEVEL = 0.95  # one-sided: chance alone comes out above the floor once in twenty times


def signal(products: Sequence[float]) -> tuple[float, float]:
    """Returns the mean of the latest products and the floor, which the mean of as many reaches by chance once in twenty
    times where there is no signal: t·sd/√n. There are two products at least.

    Args:
        products: see `rlft.train.diagnostics`.

    >>> mean, floor = signal([1.0, 3.0])  # sd = √2, t = 6.314 for two
    >>> round(mean, 3), round(floor, 3)
    (2.0, 6.314)
    """
    means, floors = _latest(products)
    last = min(len(means), WINDOW) - 1
    return float(means[last]), float(floors[last])


def floor_since(steps: Sequence[int], products: Sequence[float]) -> int | None:
    """Returns the first step of the longest stretch up to now, of `LEAST` steps at least, whose products together are
    not above the floor and no `WINDOW` of which is, nor one that ends in it; None if there is none.

    A slow climb that a few steps cannot show is seen in many: the longer the stretch, the lower the floor. A quick one
    at the start is seen in the window, where a long stretch would level it with the overshooting that follows.

    Args:
        steps: the step of each product. products: see `rlft.train.diagnostics`.
    """
    quiet = _since_a_signal(products)
    if quiet < LEAST:
        return None
    means, floors = _latest(products[-quiet:])
    long = np.flatnonzero((means <= floors)[LEAST - 1 :])
    return int(steps[-LEAST - long[-1]]) if len(long) else None


def _since_a_signal(products: Sequence[float]) -> int:
    """How many of the latest products come after the last window that is above its floor."""
    looked_at = np.asarray(products[-HISTORY:], dtype=np.float64)
    if len(looked_at) < WINDOW:
        return len(looked_at)
    windows = np.lib.stride_tricks.sliding_window_view(looked_at, WINDOW)
    floors = stdtrit(WINDOW - 1, LEVEL) * windows.std(axis=1, ddof=1) / np.sqrt(WINDOW)
    above = np.flatnonzero(windows.mean(axis=1) > floors)
    return len(windows) - 1 - int(above[-1]) if len(above) else len(looked_at)


def _latest(products: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and floor of the latest 1, 2, 3, … products; of a single one the floor is infinite."""
    newest = np.asarray(products[-HISTORY:], dtype=np.float64)[::-1]
    n = np.arange(1, len(newest) + 1)
    mean = newest.cumsum() / n
    freedom = np.maximum(1, n - 1)
    variance = np.maximum(0, ((newest**2).cumsum() - n * mean**2) / freedom)
    floor = stdtrit(freedom, LEVEL) * np.sqrt(variance / n)
    floor[0] = np.inf
    return mean, floor

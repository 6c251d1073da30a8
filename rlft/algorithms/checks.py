"""What every method checks: its hyper-parameters when it is made, and the batch's annotations when they are read."""

import math

from torch import Tensor

from rlft.base import UserError


def check_number(key: str, value: float, low: float, high: float = math.inf, *, above: bool = False) -> None:
    """Checks low <= value <= high, or low < value with `above`.

    Raises:
        UserError: naming `algorithm.<key>`, the range and what to type.

    >>> check_number("beta", 0.1, 0)
    """
    if (value > low if above else value >= low) and value <= high:
        return
    upper = "" if high == math.inf else f" and at most {high:g}"
    lower = f"above {low:g}" if above else f"of at least {low:g}"
    raise UserError(f"algorithm.{key}={value}: expected a number {lower}{upper}")


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Checks that value is one of the choices.

    Raises:
        UserError: naming `algorithm.<key>` and the choices.

    >>> check_choice("surrogate.level", "token", ("token", "sequence"))
    """
    if value not in choices:
        raise UserError(f"algorithm.{key}={value}: expected one of {', '.join(choices)}")


def annotated(value: Tensor | None, name: str) -> Tensor:
    """Returns an annotation of the batch that a method declared in its `needs`.

    Raises:
        ValueError: it is None.
    """
    if value is None:
        raise ValueError(f"the batch has no {name}; the method's `needs` asks for it, or `prepare` fills it")
    return value

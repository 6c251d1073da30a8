"""How many steps a budget buys."""

from dataclasses import replace
from typing import TYPE_CHECKING

from rlft.theory.cost import EVALUATION
from rlft.theory.flops import run_flops
from rlft.theory.lengths import Lengths
from rlft.theory.model import Model
from rlft.theory.seconds import Device, Rates
from rlft.theory.work import Work

if TYPE_CHECKING:
    from rlft.train.budget import Budget

FAR = 10**9  # steps, beyond which nobody trains


def steps_bought(
    budget: "Budget", work: Work, model: Model, lengths: Lengths, clock: Rates | Device, itemsize: int
) -> int:
    """Returns the number of steps with which a recipe of certain lengths reaches its budget; those of the recipe
    without one. What is spent grows with the steps, so that halving finds it."""
    if budget.unit is None:
        return work.steps
    low, high = 1, 1

    def short(steps: int) -> bool:
        spent = _spent(str(budget.unit), replace(work, steps=steps), model, lengths, clock, itemsize)
        return spent < budget.amount

    while short(high) and high < FAR:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if short(middle) else (low, middle)
    return high


def _spent(unit: str, work: Work, model: Model, lengths: Lengths, clock: Rates | Device, itemsize: int) -> float:
    if unit == "flops":
        return sum(run_flops(work, model.shape, lengths).values())
    if unit == "seconds":
        on_paper = isinstance(clock, Device)
        parts = clock.seconds(work, model, lengths, itemsize) if on_paper else clock.seconds(work, model, lengths)
        return sum(seconds for part, seconds in parts.items() if part != EVALUATION)
    groups = work.steps * work.queries
    once = lengths.pool * work.samples if work.sampled == "once" else 0
    return {
        "prompts": groups,
        "trained_tokens": groups * work.rows * lengths.completion * work.epochs,
        "generated_tokens": groups * work.samples * lengths.completion,
        "reward_calls": groups * work.rows + once,
    }[unit]

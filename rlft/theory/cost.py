"""The bill before the run: FLOPs, memory and seconds, each as an interval."""

from dataclasses import dataclass
from typing import Any

import torch

from rlft.theory.flops import evaluation_flops, run_flops
from rlft.theory.lengths import Lengths
from rlft.theory.memory import peak, run_memory
from rlft.theory.model import Model
from rlft.theory.seconds import Device, Rates
from rlft.theory.work import Work

EVALUATION = "evaluation"
"""The part that is told apart: neither `totals.flops` nor `totals.seconds` of a run has it."""


@dataclass(frozen=True)
class Cost:
    """What a run of certain lengths takes.

    Attributes:
        flops: by part. memory: bytes by part. seconds: by part.
    """

    flops: dict[str, float]
    memory: dict[str, float]
    seconds: dict[str, float]

    @property
    def totals(self) -> dict[str, float]:
        """FLOPs and seconds of training, without evaluations, and the bytes at the worst moment."""
        return {
            "flops": sum(v for part, v in self.flops.items() if part != EVALUATION),
            "memory_bytes": peak(self.memory),
            "seconds": sum(v for part, v in self.seconds.items() if part != EVALUATION),
        }

    def as_dict(self) -> dict[str, Any]:
        """Returns parts and totals as plain values."""
        return {"flops": self.flops, "memory_bytes": self.memory, "seconds": self.seconds, "totals": self.totals}


@dataclass(frozen=True)
class Estimate:
    """A recipe's cost at the least and at the greatest lengths it can have."""

    lower: Cost
    upper: Cost

    @property
    def exact(self) -> bool:
        """Whether nothing was left open."""
        return self.lower == self.upper


def estimate(
    work: Work, model: Model, lengths: tuple[Lengths, Lengths], dtype: torch.dtype, clock: Rates | Device, on_cpu: bool
) -> Estimate:
    """Returns what a recipe costs between two bounds of its lengths.

    Args:
        work, model: the run. lengths: its lower and upper bounds.
        dtype: of the frozen weights.
        clock: measured rates of this machine, or a device on paper.
        on_cpu: whether the model shares its memory with the interpreter.
    """

    def one(bound: Lengths) -> Cost:
        flops = run_flops(work, model.shape, bound)
        flops[EVALUATION] = evaluation_flops(work, model.shape, bound)
        if isinstance(clock, Device):
            seconds = clock.seconds(work, model, bound, dtype.itemsize)
        else:
            seconds = clock.seconds(work, model, bound)
        return Cost(flops, run_memory(work, model, bound, dtype.itemsize, on_cpu), seconds)

    return Estimate(*(one(bound) for bound in lengths))

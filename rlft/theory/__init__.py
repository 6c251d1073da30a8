"""What can be known without training: FLOPs, memory and seconds of a recipe before it runs."""

from rlft.theory.bought import steps_bought
from rlft.theory.calibration import calibrate
from rlft.theory.cost import Cost, Estimate, estimate
from rlft.theory.growth import Growth, growth
from rlft.theory.lengths import Lengths, bounds, read_lengths
from rlft.theory.live import Live
from rlft.theory.measured import Measured, read_run
from rlft.theory.model import Model, is_native, read_model, read_teacher
from rlft.theory.page import Case
from rlft.theory.seconds import Device, Rates
from rlft.theory.work import Work, read_work

__all__ = [
    "Case",
    "Cost",
    "Device",
    "Estimate",
    "Growth",
    "Lengths",
    "Live",
    "Measured",
    "Model",
    "Rates",
    "Work",
    "bounds",
    "calibrate",
    "estimate",
    "growth",
    "is_native",
    "read_lengths",
    "read_model",
    "read_run",
    "read_teacher",
    "read_work",
    "steps_bought",
]

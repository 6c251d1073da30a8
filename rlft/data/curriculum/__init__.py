"""Curricula: every question once an epoch, easy to hard, by what can be learnt from it now, or level after level."""

from rlft.data.curriculum.adaptive import Adaptive
from rlft.data.curriculum.epochs import NoCurriculum, Sorted
from rlft.data.curriculum.levels import Levels

__all__ = ["Adaptive", "Levels", "NoCurriculum", "Sorted"]

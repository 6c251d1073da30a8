"""Data sources: recorded completions, recorded pairs, completions of π_ref sampled once, and of π_θ now; curricula."""

from rlft.data.curriculum import Adaptive, Levels, NoCurriculum, Sorted
from rlft.data.labelled import Labelled
from rlft.data.offline import Offline
from rlft.data.online import Online
from rlft.data.pairs import Pairs
from rlft.data.recorded import Recorded
from rlft.data.source import Source
from rlft.data.split import bucket, is_held_out

__all__ = [
    "Adaptive",
    "Labelled",
    "Levels",
    "NoCurriculum",
    "Offline",
    "Online",
    "Pairs",
    "Recorded",
    "Sorted",
    "Source",
    "bucket",
    "is_held_out",
]

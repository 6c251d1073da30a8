"""Comparing finished runs: held-out accuracy with paired intervals beside what each run cost."""

from rlft.comparison.alike import unlike
from rlft.comparison.compare import compare
from rlft.comparison.page import render

__all__ = ["compare", "render", "unlike"]

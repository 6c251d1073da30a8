"""The coefficient as text: `vocabulary` is what it may speak of, `grammar` refuses the rest, `evaluate` computes it."""

from rlft.algorithms.formula.method import Formula

__all__ = ["Formula"]

"""What moves each token of a completion, and what one step does to its probability, or to its score."""

from rlft.theory.explain.coefficients import Coefficients, coefficients
from rlft.theory.explain.effect import Effect, one_step, restored
from rlft.theory.explain.explanation import END, Explanation, Method, Told, method, tell
from rlft.theory.explain.quantity import QUANTITIES, Quantity

__all__ = [
    "END",
    "QUANTITIES",
    "Coefficients",
    "Effect",
    "Explanation",
    "Method",
    "Quantity",
    "Told",
    "coefficients",
    "method",
    "one_step",
    "restored",
    "tell",
]

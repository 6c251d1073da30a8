"""What moves each token of a completion, and what one step does to its probability."""

from rlft.theory.explain.coefficients import Coefficients, coefficients
from rlft.theory.explain.effect import Effect, one_step, restored
from rlft.theory.explain.explanation import END, Explanation, Method, Told, method, tell

__all__ = [
    "END",
    "Coefficients",
    "Effect",
    "Explanation",
    "Method",
    "Told",
    "coefficients",
    "method",
    "one_step",
    "restored",
    "tell",
]

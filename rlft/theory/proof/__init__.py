"""What a coefficient claims, held against autograd, against itself in other orders, and against enumeration."""

from rlft.theory.proof.checks import Check, Proof, prove

__all__ = ["Check", "Proof", "prove"]

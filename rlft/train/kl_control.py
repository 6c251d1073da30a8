"""A controller of the KL to the reference: it adapts β so that the policy stays as far from π_ref as is wanted."""

from dataclasses import dataclass, replace

from rlft.base import Algorithm

MOST = 0.2  # of the error, relative to the target, that counts


@dataclass(frozen=True)
class KLControl:
    """β ← β·(1 + e·min(1, B/horizon)), e = clip(KL/target - 1, -0.2, 0.2), after each batch of B completions (after
    Ziegler et al., arXiv 1909.08593, section 2.2, where B/horizon has no bound: β is negative once it is above 5).

    Its state is β, which stands in the algorithm it returns.

    Attributes:
        target: KL(π_θ ‖ π_ref) that is aimed at, nats per token.
        horizon: completions; an error that counts in full changes β by a factor of about exp(±0.2) in as many.
    """

    target: float
    horizon: int

    def adapt(self, algorithm: Algorithm, kl: float | None, completions: int) -> Algorithm:
        """Returns the algorithm with its β after a batch whose KL was `kl`, nats per token; None leaves it."""
        if kl is None:
            return algorithm
        assert algorithm.kl_weight is not None
        error = min(MOST, max(-MOST, kl / self.target - 1))
        return with_beta(algorithm, algorithm.kl_weight * (1 + error * min(1.0, completions / self.horizon)))


def with_beta(algorithm: Algorithm, beta: float) -> Algorithm:
    """Returns the algorithm with another weight of its KL."""
    return replace(algorithm, beta=beta)  # type: ignore[type-var]  # algorithms are dataclasses

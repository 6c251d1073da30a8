"""What samples of another policy are worth: the exact bias and variance of an update, and how many samples are left.

π_old drew the completions, π_θ is trained on them; s = π_θ(o)/π_old(o) = Π_t ρ_t is the weight of a whole completion.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlft.base import Algorithm
from rlft.theory.proof.enumerable import Enumerable, completions


@dataclass(frozen=True)
class Moments:
    """Of the update of one completion, drawn from π_old.

    Attributes:
        mean: [prefixes · words].
        variance: E‖update - mean‖²; that of the mean of n completions is an n-th of it.
    """

    mean: Tensor
    variance: float

    def bias(self, target: Tensor) -> float:
        """Returns ‖mean - target‖/‖target‖."""
        return float((self.mean - target).norm() / target.norm())


def moments(algorithm: Algorithm, policy: Enumerable, old: Enumerable) -> Moments:
    """Returns the mean and the variance, summed over all completions, of w·GC·∇log π of one of them.

    Args:
        algorithm: the method, which sees each completion as a batch of its own (its w divides by the rows).
        policy: π_θ, with the rewards. old: π_old, which is π_ref too.

    >>> from rlft.algorithms import SequenceSum, WeightedLikelihood
    >>> model = Enumerable.draw()
    >>> moments(WeightedLikelihood(SequenceSum()), model, model).bias(model.gradient(model.reward)) < 1e-12
    True
    """
    updates = policy.updates(algorithm, torch.arange(len(completions()))[:, None], old)
    mean = old.probability @ updates
    return Moments(mean, float(old.probability @ (updates - mean).square().sum(1)))


def divergence(policy: Enumerable, old: Enumerable) -> float:
    """Returns KL(π_θ ‖ π_old) of whole completions, nats."""
    return float(policy.probability @ (policy.logp - old.logp).sum(1))


def second_moment(policy: Enumerable, old: Enumerable) -> float:
    """Returns E_old[s²] = 1 + χ²(π_θ ‖ π_old) = exp D₂(π_θ ‖ π_old), D₂ being Rényi's divergence of order 2 (Cortes,
    Mansour and Mohri 2010, "Learning bounds for importance weighting").

    >>> second_moment(Enumerable.draw(), Enumerable.draw())
    1.0
    """
    return float(policy.probability.square() @ (1 / old.probability))


def effective_share(policy: Enumerable, old: Enumerable) -> float:
    """Returns 1/E_old[s²], in (0, 1]: what (Σs)²/Σs² of n samples comes to, as a share of n, where n is large (Kong
    1992)."""
    return 1 / second_moment(policy, old)


def climb(model: Enumerable, steps: int, rate: float) -> list[Enumerable]:
    """Returns the model after 0, 1, …, `steps` exact steps of `rate` along ∇E[r]: the way that training takes."""
    path = [model]
    for _ in range(steps):
        last = path[-1]
        path.append(Enumerable(last.logits + rate * last.gradient(last.reward).view_as(last.logits), last.reward))
    return path


def from_probability(probability: Tensor, reward: Tensor) -> Enumerable:
    """Returns the model that writes each completion with this probability [completions], all above 0.

    >>> model = Enumerable.draw()
    >>> again = from_probability(model.probability, model.reward)
    >>> bool((again.probability - model.probability).abs().max() < 1e-12)
    True
    """
    table = torch.zeros_like(Enumerable.draw().logits)
    for chance, completion in zip(probability, completions(), strict=True):
        table[0, completion[0]] += chance
        if len(completion) > 1:
            table[completion[0] + 1, completion[1]] += chance
    # After the first word comes what it was drawn with; rows need no normalising, being logits.
    return Enumerable(table.log(), reward)

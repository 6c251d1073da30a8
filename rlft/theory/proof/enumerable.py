"""A model so small that every completion can be listed: expectations are sums, and no sample is drawn."""

import itertools
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from rlft.base import Algorithm, Batch

WORDS = 3  # the last one ends the completion
LIMIT = 2  # tokens
REFERENCE, TEACHER = 99, 98  # seeds of the models beside it


@dataclass(frozen=True)
class Enumerable:
    """A table of logits for each prefix, the completions it can write, and what each is worth.

    Leading axes of the logits, if any, are so many models side by side: what is returned has them in front.

    Attributes:
        logits: [prefixes, words], float64; the prefixes are none, and one word.
        reward: [completions].
    """

    logits: Tensor
    reward: Tensor

    @classmethod
    def draw(cls, seed: int = 0) -> "Enumerable":
        """Returns a model with random logits; a completion is right if it holds the first word once."""
        draw = torch.Generator().manual_seed(seed)
        logits = torch.randn(WORDS, WORDS, generator=draw, dtype=torch.float64)
        return cls(logits, torch.tensor([float(c.count(0) == 1) for c in completions()], dtype=torch.float64))

    @property
    def logp(self) -> Tensor:
        """Returns log π [completions, tokens], 0 behind the end."""
        prefix, word = places()
        return torch.where(mask_of_all(), self.logits.log_softmax(-1)[..., prefix, word], 0.0)

    @property
    def probability(self) -> Tensor:
        """Returns π(o) [completions]; they add up to 1."""
        return self.logp.sum(-1).exp()

    @property
    def scores(self) -> Tensor:
        """Returns ∇log π(o_t) in the logits [completions, tokens, prefixes · words]: 1 at the word, less π."""
        prefix, word = places()
        visited = one_hot(prefix, WORDS) * mask_of_all()[..., None]
        drawn = one_hot(word, WORDS) - self.logits.softmax(-1)[..., prefix, :]
        return (visited[..., None] * drawn[..., None, :]).flatten(-2)

    def gradient(self, value: Tensor) -> Tensor:
        """Returns Σ_o π(o)·value(o)·∇log π(o): ∇E[value] where the value is not itself a function of the logits.

        Args:
            value: [completions].
        """
        return torch.einsum("...c,...ctd->...d", self.probability * value, self.scores)

    def expectation(self, algorithm: Algorithm, samples: int) -> Tensor:
        """Returns E[Σ w·GC·∇log π] [prefixes · words] over all groups of so many completions of one query, each a batch
        of its own, drawn from π itself (so that ρ = 1); π_ref and the teacher are other models; values and the
        log-ratios of mismatched completions are 0."""
        reference, taught = Enumerable.draw(REFERENCE), Enumerable.draw(TEACHER).logp
        logp, logp_ref, kl, scores = self.logp, reference.logp, self.divergence(reference), self.scores
        chance, total = self.probability, torch.zeros(WORDS * WORDS, dtype=torch.float64)
        for drawn in itertools.product(range(len(completions())), repeat=samples):
            rows = torch.tensor(drawn)
            known = {"logp_ref": logp_ref, "logp_old": logp, "kl_full": kl, "logp_teacher": taught}
            batch = algorithm.prepare(self._batch(rows, samples, **{name: x[rows] for name, x in known.items()}))
            update = algorithm.reduction(batch.mask, batch.group) * algorithm.coefficient(batch, logp[rows])
            total += chance[rows].prod() * torch.einsum("gt,gtd->d", update, scores[rows])
        return total

    def divergence(self, other: "Enumerable") -> Tensor:
        """Returns KL(π ‖ another model's) of the distribution of each token [completions, tokens], nats."""
        p, q = self.logits.log_softmax(-1), other.logits.log_softmax(-1)
        of_prefix = (p.exp() * (p - q)).sum(-1)
        return torch.where(mask_of_all(), of_prefix[..., places()[0]], 0.0)

    def updates(
        self, algorithm: Algorithm, drawn: Tensor, old: "Enumerable | None" = None, ref: "Enumerable | None" = None
    ) -> Tensor:
        """Returns Σ w·GC·∇log π of each of K groups of completions [K, prefixes · words], from one batch of them all
        in which w is multiplied by K: with m/B or m/(|o|·B) that is what each group would be as a batch of its own.

        Args:
            algorithm: what gives w and GC.
            drawn: [K, samples], the completions by their index; of K models side by side, each has a group.
            old: π_old, which drew them; None: π itself, and ρ = 1. ref: π_ref; None: π_old.
        """
        old = old or self
        groups, rows = torch.arange(len(drawn))[:, None], drawn.flatten()

        def read(values: Tensor) -> Tensor:
            return values.expand(len(drawn), *values.shape[-2:])[groups, drawn].flatten(0, 1)

        logp = read(self.logp)
        batch = self._batch(rows, drawn.shape[1], logp_old=read(old.logp), logp_ref=read((ref or old).logp))
        batch = algorithm.prepare(batch)
        weight = len(drawn) * algorithm.reduction(batch.mask, batch.group)
        update = (weight * algorithm.coefficient(batch, logp)).view(*drawn.shape, LIMIT)
        scores = self.scores.expand(len(drawn), *self.scores.shape[-3:])[groups, drawn]
        return torch.einsum("kgt,kgtd->kd", update, scores)

    def away_from(self, other: "Enumerable") -> Tensor:
        """Returns Σ_s d(s)·∇KL(π(·|s) ‖ another model's) in the logits [prefixes · words], by autograd; d(s), the
        probability of coming to the prefix s, is held fixed."""
        with torch.enable_grad():
            logits = self.logits.clone().requires_grad_()
            p, q = logits.log_softmax(1), other.logits.log_softmax(1)
            first = p[0].detach().exp()[:-1]  # the end has nothing after it
            visited = torch.cat([first.new_ones(1), first])
            (gradient,) = torch.autograd.grad((visited * (p.exp() * (p - q)).sum(1)).sum(), logits)
        return gradient.flatten()

    def _batch(self, rows: Tensor, samples: int, **annotations: Tensor) -> Batch:
        mask, queries = mask_of_all()[rows], len(rows) // samples
        reward = self.reward[rows]
        last = mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))
        return Batch(
            prompt_ids=torch.zeros(queries, 1, dtype=torch.long),
            prompt_mask=torch.ones(queries, 1, dtype=torch.bool),
            completion_ids=torch.zeros(mask.shape, dtype=torch.long),
            attention=mask,
            mask=mask,
            group=torch.arange(queries).repeat_interleave(samples),
            finished=torch.ones(len(rows), dtype=torch.bool),
            reward=reward,
            step_reward=reward[:, None] * last,
            step_end=last,
            **annotations,
            value=torch.zeros(mask.shape, dtype=torch.float64),
            mismatched=torch.zeros(len(rows), dtype=torch.float64),
        )


def completions() -> list[tuple[int, ...]]:
    """Returns all that the model can write: the end at once, a word and the end, or two words, cut off.

    >>> len(completions())
    7
    """
    end = WORDS - 1
    ended = [(*words, end) for n in range(LIMIT) for words in itertools.product(range(end), repeat=n)]
    return ended + list(itertools.product(range(end), repeat=LIMIT))


def steps(completion: tuple[int, ...]) -> list[tuple[int, int]]:
    """Returns (prefix, word) of each token: the prefix is 0 at the start, and otherwise 1 more than the word before."""
    return [(0 if t == 0 else completion[t - 1] + 1, word) for t, word in enumerate(completion)]


@cache
def mask_of_all() -> Tensor:
    """Returns [completions, tokens] bool."""
    return torch.tensor([[t < len(c) for t in range(LIMIT)] for c in completions()])


@cache
def places() -> tuple[Tensor, Tensor]:
    """Returns the prefix and the word of every token [completions, tokens], 0 behind the end."""
    padded = [[*steps(c), *[(0, 0)] * (LIMIT - len(c))] for c in completions()]
    prefix, word = torch.tensor(padded).unbind(-1)
    return prefix, word

"""A model so small that every completion can be listed: expectations are sums, and no sample is drawn."""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from rlft.base import Algorithm, Batch

WORDS = 3  # the last one ends the completion
LIMIT = 2  # tokens
REFERENCE, TEACHER = 99, 98  # seeds of the models beside it


@dataclass(frozen=True)
class Enumerable:
    """A table of logits for each prefix, the completions it can write, and what each is worth.

    Attributes:
        logits: [prefixes, words], float64; the prefixes are none, and one word.
        reward: [completions], 0 or 1.
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
        table = self.logits.log_softmax(1)
        rows = [[table[prefix, word] for prefix, word in steps(c)] for c in completions()]
        return torch.stack([torch.stack([*row, *[table.new_zeros(())] * (LIMIT - len(row))]) for row in rows])

    @property
    def probability(self) -> Tensor:
        """Returns π(o) [completions]; they add up to 1."""
        return self.logp.sum(1).exp()

    @property
    def scores(self) -> Tensor:
        """Returns ∇log π(o_t) in the logits [completions, tokens, prefixes · words]: 1 at the word, less π."""
        policy = self.logits.softmax(1)
        result = torch.zeros(len(completions()), LIMIT, WORDS, WORDS, dtype=torch.float64)
        for row, completion in enumerate(completions()):
            for t, (prefix, word) in enumerate(steps(completion)):
                result[row, t, prefix] = -policy[prefix]
                result[row, t, prefix, word] += 1
        return result.flatten(2)

    def gradient(self, value: Tensor) -> Tensor:
        """Returns Σ_o π(o)·value(o)·∇log π(o): ∇E[value] where the value is not itself a function of the logits.

        Args:
            value: [completions].
        """
        return torch.einsum("c,ctd->d", self.probability * value, self.scores)

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
            batch = algorithm.prepare(self._batch(rows, **{name: values[rows] for name, values in known.items()}))
            update = algorithm.reduction(batch.mask, batch.group) * algorithm.coefficient(batch, logp[rows])
            total += chance[rows].prod() * torch.einsum("gt,gtd->d", update, scores[rows])
        return total

    def divergence(self, other: "Enumerable") -> Tensor:
        """Returns KL(π ‖ another model's) of the distribution of each token [completions, tokens], nats."""
        p, q = self.logits.log_softmax(1), other.logits.log_softmax(1)
        of_prefix = (p.exp() * (p - q)).sum(1)
        rows = [[of_prefix[prefix] for prefix, _ in steps(c)] for c in completions()]
        return torch.stack([torch.stack([*row, *[p.new_zeros(())] * (LIMIT - len(row))]) for row in rows])

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

    def _batch(self, rows: Tensor, **annotations: Tensor) -> Batch:
        mask = mask_of_all()[rows]
        reward = self.reward[rows]
        last = mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))
        return Batch(
            prompt_ids=torch.zeros(1, 1, dtype=torch.long),
            prompt_mask=torch.ones(1, 1, dtype=torch.bool),
            completion_ids=torch.zeros(mask.shape, dtype=torch.long),
            attention=mask,
            mask=mask,
            group=torch.zeros(len(rows), dtype=torch.long),
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


def mask_of_all() -> Tensor:
    """Returns [completions, tokens] bool."""
    return torch.tensor([[t < len(c) for t in range(LIMIT)] for c in completions()])

"""Questions in proportion to what can be learnt from them now."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from rlft.base import Group, Pool, UserError
from rlft.data.curriculum.weighted import Weighted, passed

FORGOTTEN = 1e-3  # answers; a question with fewer left is its bucket's


@dataclass(kw_only=True)
class Adaptive(Weighted):
    """Draws questions in proportion to p(1-p), where p is the policy's pass rate now.

    p(1-p) is the variance of a right-or-wrong reward, and so of what a group of completions says against its own mean:
    it is 0 where all are right or all wrong. It is called learnability (Rutherford et al., arXiv 2408.15099; for
    language models Foster and Foerster, arXiv 2502.12272).

    Most questions are never drawn, so p is estimated at two levels, by counts of answers that fade by `decay` a step,
    as discounted Beta posteriors (per prompt: Qu et al., arXiv 2507.04632):

        p_bucket = (prior·m + right_bucket) / (prior + total_bucket)
        p_query  = (shrinkage·p' + right_query) / (shrinkage + total_query)

    m is 1/2, and p' = p_bucket. Where pass rates were measured, a question's is that of `expected_rates`, m is its mean
    in the bucket, and p' has the odds of the question's times p_bucket's by m's: what the bucket has learnt since is
    taken for each of its questions. The answers that were measured are the bucket's first counts, or one lucky group
    would make hundreds of hopeless questions worth asking. A bucket that is not drawn any more returns to m, and so is
    tried again. The probability of a question is (1 - floor)·p(1-p)/Σp(1-p) + floor/N.

    Without a column, a measure or levels there is one bucket, and only what comes again is told apart.

    Attributes:
        decay: what is left of a count after a step, from 0 to 1; 1 forgets nothing.
        prior: answers that the bucket's prior counts for; 1 around 1/2 is that of Jeffreys, Beta(1/2, 1/2).
        shrinkage: answers that the bucket's estimate counts for in a question's.
        floor: share of the draws that go to all questions alike.
    """

    label: ClassVar[str] = "adaptive"

    decay: float = 0.9
    prior: float = 1.0
    shrinkage: float = 8.0
    floor: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        self._step = 0
        self._counts = torch.empty(0, 2, dtype=torch.float64)
        self._seen: dict[str, list[float]] = {}
        self._expected: dict[str, float | None] = {}
        for key in ("decay", "floor"):
            if not 0 < getattr(self, key) <= 1:
                raise UserError(f"curriculum.{key}={getattr(self, key):g}: expected a number above 0 and at most 1")
        for key in ("prior", "shrinkage"):
            if not getattr(self, key) > 0:
                raise UserError(f"curriculum.{key}={getattr(self, key):g}: expected a number above 0")

    @property
    def needs(self) -> frozenset[str]:
        """As for all that learn, but that difficulties need not be known."""
        return super().needs - {"levels"}

    def bind(self, pool: Pool) -> None:
        super().bind(pool)
        buckets = int(self._buckets.max()) + 1
        self._first = torch.full((len(self._rows),), 0.5, dtype=torch.float64)
        self._places = {pool.queries[row].id: place for place, row in enumerate(self._rows)}
        sizes = torch.bincount(self._buckets, minlength=buckets)
        if self._measured is not None:
            self._first = expected_rates(torch.tensor(self._measured, dtype=torch.float64), self.measure)
        self._middle = torch.bincount(self._buckets, self._first, minlength=buckets) / sizes
        self._counts = torch.stack([self._middle, torch.ones(buckets)], 1) * (sizes * self.measure)[:, None]

    def pass_rates(self) -> tuple[Tensor, Tensor]:
        """Returns the estimates of each bucket and of each row, float64."""
        right, total = self._counts.T
        of_bucket = (self.prior * self._middle + right) / (self.prior + total)
        of_row = (self._first.logit() + (of_bucket.logit() - self._middle.logit())[self._buckets]).sigmoid()
        for query, (good, known, step) in self._seen.items():
            place, left = self._places[query], self.decay ** (self._step - step)
            of_row[place] = (self.shrinkage * of_row[place] + left * good) / (self.shrinkage + left * known)
        return of_bucket, of_row

    def probabilities(self) -> Tensor:
        of_bucket, of_row = self.pass_rates()
        learnable = of_row * (1 - of_row)
        p = (1 - self.floor) * learnable / learnable.sum() + self.floor / len(of_row)
        self._expected = {"pass_rate": float((p * of_row).sum())}
        self._expected |= {f"pass_rate/{number}": float(rate) for number, rate in enumerate(of_bucket)}
        return p

    def observe(self, groups: list[Group]) -> None:
        """Lets all counts fade by a step and adds the groups' answers."""
        self._step += 1
        self._counts *= self.decay
        for group in groups:
            right, total = passed(group)
            key = group.query.id
            self._counts[self._bucket_of[key]] += torch.tensor([right, total])
            good, known, step = self._seen.get(key, (0.0, 0.0, self._step))
            left = self.decay ** (self._step - step)
            self._seen[key] = [left * good + right, left * known + total, self._step]
        self._seen = {
            key: entry
            for key, entry in self._seen.items()
            if entry[1] * self.decay ** (self._step - entry[2]) > FORGOTTEN
        }

    def metrics(self) -> dict[str, float | None]:
        """Returns the pass rate expected of what is drawn, and the estimate of each bucket, 0 the easiest."""
        return super().metrics() | self._expected

    def state_dict(self) -> dict[str, Any]:
        """Returns the counts of buckets and of questions."""
        return {"step": self._step, "buckets": self._counts.tolist(), "queries": self._seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._step, self._seen = state["step"], {key: list(entry) for key, entry in state["queries"].items()}
        self._counts = torch.tensor(state["buckets"], dtype=torch.float64)


def expected_rates(shares: Tensor, answers: int) -> Tensor:
    """Returns what the pass rate of each question may be expected to be after some answers, float64.

    A question of which no answer was right is not one in (answers + 2): where most are hopeless it probably is too. The
    pass rates are taken as draws from a Beta distribution that is fitted to the mean and the variance of the shares
    (empirical Bayes; moments of the beta-binomial: Kleinman 1973), and these are its posterior means.

    Args:
        shares: right answers to each question, from 0 to 1, float64. answers: how many each got.

    >>> expected_rates(torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64), 8)  # all or nothing
    tensor([0.0034, 0.0034, 0.0034, 0.9897], dtype=torch.float64)
    >>> expected_rates(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64), 4)  # no more than chance makes
    tensor([0.4903, 0.5000, 0.5097], dtype=torch.float64)
    """
    mean = shares.mean()
    chance = mean * (1 - mean)
    if chance == 0 or answers < 2 or len(shares) < 2:
        return (shares * answers + 0.5) / (answers + 1)  # Jeffreys' prior: there is nothing to fit
    # Var(share) = mean(1 - mean)·(1 + (answers - 1)·rho)/answers, with rho = 1/(a + b + 1).
    rho = (shares.var() * answers / chance - 1) / (answers - 1)
    weight = 1 / rho.clamp(0.01, 0.9) - 1  # a + b; a few questions do not tell more than that
    return (shares * answers + mean * weight) / (answers + weight)

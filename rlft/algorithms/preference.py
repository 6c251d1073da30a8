"""Methods on pairs (o⁺, o⁻): the coefficient depends on how far apart the two completions of a query are."""

from abc import abstractmethod
from collections.abc import Iterator
from functools import reduce
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rlft import ops
from rlft.algorithms.checks import annotated
from rlft.base import Algorithm, Atom, Batch, UserError

Margin = Float[Tensor, "..."]


class Preference(Algorithm):
    """A function f of h, the margin by which o⁺ is ahead of o⁻: by default of Σ_t log(π_θ/π_ref), the *summed*
    log-ratio of a completion.

    The rows of a group are a pair; the one with the greater reward is preferred. A pair of equal rewards states no
    preference, and its coefficient is 0. Subclasses are frozen dataclasses and state f and its derivative.

    Attributes:
        relative: whether log π_θ counts relative to log π_ref; without, no reference is needed.
        averaged: whether completions are compared by their mean over tokens instead of the sum.
        symbol: what the margin is called in the formula.
    """

    atom: ClassVar[Atom] = "group"
    group_size = 2
    relative: ClassVar[bool] = True
    averaged: bool = False
    symbol: ClassVar[str] = "h"

    @abstractmethod
    def value(self, margin: Margin) -> Margin:
        """Returns f(h), what a pair adds to the objective, differentiable."""

    @abstractmethod
    def slope(self, margin: Margin) -> Margin:
        """Returns f'(h)."""

    @property
    def needs(self) -> frozenset[str]:
        """See Algorithm."""
        return frozenset({"reference"} if self.relative else ())

    @property
    def formula(self) -> str:
        """See Algorithm."""
        what = "log(π/π_ref)" if self.relative else "log π"
        of = "mean" if self.averaged else "Σ"
        length = "/|o|" if self.averaged else ""
        return f"GC = ±{self.slope_formula}{length}, w = m/#pairs, h = {of} {what}(o⁺) - {of} {what}(o⁻)"

    @property
    @abstractmethod
    def slope_formula(self) -> str:
        """f'(h) as text."""

    def reduction(self, mask: Bool[Tensor, "B T"], group: Int[Tensor, " B"]) -> Float[Tensor, "B T"]:
        """Returns m/#pairs [B, T]."""
        return ops.total(mask) / max(1, ops.group_count(group))

    def prepare(self, batch: Batch) -> Batch:
        """Fills `advantage` with +1 for o⁺, -1 for o⁻ and 0 for both completions of a tie.

        Raises:
            UserError: a group is not a pair.
        """
        sizes = ops.group_size(batch.group)
        if bool((sizes != 2).any()):
            row = int((sizes != 2).nonzero()[0])
            raise UserError(
                f"row {row} of the batch: its query has {int(sizes[row])} completion(s), a preference pair has 2; "
                "type data=preference, or choose another algorithm"
            )
        sign = ops.group_deviation(batch.reward, batch.group).sign()
        return batch.replace(advantage=ops.masked(sign[:, None].expand(batch.mask.shape), batch.mask))

    def coefficient(self, batch: Batch, logp: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """Returns the sum of the terms [B, T]: by default there is one."""
        return reduce(torch.add, self.terms(batch, logp).values())

    def terms(self, batch: Batch, logp: Float[Tensor, "B T"]) -> dict[str, Tensor]:
        """See Algorithm: ±f'(h), over |o| where completions are averaged."""
        gc = annotated(batch.advantage, "advantage").to(logp.dtype) * self.slope(self.margin(batch, logp))[:, None]
        if self.averaged:
            return {f"±{self.slope_formula}/|o|": gc / ops.lengths(batch.mask).to(gc.dtype)[:, None]}
        return {f"±{self.slope_formula}": gc}

    def factors(self, batch: Batch, logp: Float[Tensor, "B T"]) -> dict[str, Tensor]:
        """See Algorithm: which of the pair it is, its margin and the slope there."""
        margin = self.margin(batch, logp)[:, None]
        sign = annotated(batch.advantage, "advantage").to(logp.dtype)
        return {"±": sign, self.symbol: margin, self.slope_formula: self.slope(margin)}

    def margin(self, batch: Batch, logp: Float[Tensor, "B T"]) -> Float[Tensor, " B"]:
        """Returns h of each row's pair [B], nats."""
        sign = annotated(batch.advantage, "advantage").to(logp.dtype)
        score = logp - annotated(batch.logp_ref, "logp_ref") if self.relative else logp
        over = ops.row_mean if self.averaged else ops.row_sum
        return ops.group_sum(over(sign * score, batch.mask), batch.group)

    def objective(self, batch: Batch, logp: Float[Tensor, "B T"]) -> Float[Tensor, ""]:
        """Returns Σ over pairs of w·f(h)."""
        weight, result = annotated(batch.weight, "weight"), logp.new_zeros(())
        for better, worse in pairs(batch):
            margin = self.score(batch, logp, better) - self.score(batch, logp, worse)
            result = result + weight[[better, worse]].max() * self.value(margin)
        return result

    def score(self, batch: Batch, logp: Float[Tensor, "B T"], row: int) -> Float[Tensor, ""]:
        """Returns what is compared of one row, for the objective."""
        tokens = logp[row][batch.mask[row]]
        if self.relative:
            tokens = tokens - annotated(batch.logp_ref, "logp_ref")[row][batch.mask[row]]
        return tokens.sum() / max(1, len(tokens)) if self.averaged else tokens.sum()


def pairs(batch: Batch) -> Iterator[tuple[int, int]]:
    """Yields the rows of each pair, the preferred one first; ties are left out."""
    for rows in batch.atoms("group"):
        better, worse = (int(row) for row in rows[batch.reward[rows].argsort(descending=True)])
        if batch.reward[better] != batch.reward[worse]:
            yield better, worse

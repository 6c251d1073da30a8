"""Which rows of a batch move the policy at all: a row whose coefficient is zero everywhere needs no pass."""

from dataclasses import dataclass

import torch

from rlft.base import Algorithm
from rlft.testing import make_batch


@dataclass(frozen=True)
class Live:
    """Whether a row's coefficient is other than zero, by what its group is like: 1.0 or 0.0 each.

    Attributes:
        all_right, all_wrong: rows of groups with only right completions, or only wrong ones.
        right, wrong: rows of groups that have both.
    """

    all_right: float = 1.0
    all_wrong: float = 1.0
    right: float = 1.0
    wrong: float = 1.0

    @classmethod
    def of(cls, algorithm: Algorithm, rows: int, worth: float = 0.0) -> "Live":
        """Asks an algorithm which rows vanish in groups of `rows` completions with rewards 1 and, where they are wrong,
        `worth`. A method that cannot be asked so is taken to use every row."""
        size = max(2, rows) if algorithm.atom == "group" else rows
        split = max(1, size // 2)
        rewards = [1.0] * size + [worth] * size + [1.0] * split + [worth] * (size - split)
        try:
            batch = make_batch(3, size, 3, holes=False, rewards=torch.tensor(rewards), needs=algorithm.needs)
            moved = (~algorithm.vanishes(algorithm.prepare(batch))).double()
        except Exception:  # a method of someone else's may want a batch of another kind
            return cls()
        mixed = moved[2 * size :]
        wrong = mixed[split:] if size > split else moved[size : 2 * size]
        return cls(*(float(part.max()) for part in (moved[:size], moved[size : 2 * size], mixed[:split], wrong)))

    def shares(
        self, acceptance: float, rows: int, all_right: float | None = None, all_wrong: float | None = None
    ) -> tuple[float, float]:
        """Returns the share of rows that move the policy, and the share of groups that have such a row.

        Args:
            acceptance: the share of right completions.
            rows: completions in a group.
            all_right, all_wrong: shares of such groups; None takes every completion for an independent draw.

        >>> Live(all_right=0, all_wrong=0).shares(0.5, 2)
        (0.5, 0.5)
        >>> Live(all_wrong=0, wrong=0).shares(0.25, 2)
        (0.25, 0.4375)
        """
        both = acceptance**rows if all_right is None else all_right
        none = (1 - acceptance) ** rows if all_wrong is None else all_wrong
        pure = both * self.all_right + none * self.all_wrong
        mixed = (acceptance - both) * self.right + (1 - acceptance - none) * self.wrong
        return pure + mixed, pure + (1 - both - none) * max(self.right, self.wrong)

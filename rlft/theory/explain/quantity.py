"""What a model says of completions, whose gradient the coefficients multiply, in words."""

from dataclasses import dataclass

from rlft.base import Trained


@dataclass(frozen=True)
class Quantity:
    """A quantity of completions.

    Attributes:
        token, completion: its symbol, of a token and of the whole. unit: what it is measured in, nothing for a score.
    """

    token: str
    completion: str
    unit: str

    @property
    def measured(self) -> str:
        """The symbol of the whole, with its unit.

        >>> [QUANTITIES[trained].measured for trained in ("log_probs", "scores")]
        ['log π(o|q), nats', 's(q, o)']
        """
        return ", ".join(filter(None, (self.completion, self.unit)))


SCORE = Quantity("s", "s(q, o)", "")
QUANTITIES: dict[Trained, Quantity] = {
    "log_probs": Quantity("log π", "log π(o|q)", "nats"),
    "scores": SCORE,
    "token_scores": SCORE,
}
"""By what an algorithm trains."""

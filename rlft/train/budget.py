"""How much a run may spend: the end of a run in another unit than steps."""

from dataclasses import dataclass, fields

from rlft.base.data import DataSource
from rlft.base.errors import UserError
from rlft.base.reward import RewardFunction


@dataclass(frozen=True)
class Budget:
    """The recipe's `budget` node: what a run may spend of one unit. The batch that reaches it is the last one, so runs
    of different methods come out equal within a batch; what a recipe spends before its first batch (completions that
    are sampled once, the run whose adapter it starts from) is part of it. With a budget `trainer.steps` ends nothing,
    and the learning-rate schedule falls with what is spent.

    Attributes:
        flops: floating-point operations, by the closed formulas of `rlft.models.flops`.
        generated_tokens, trained_tokens: sampled, and gone through in training.
        prompts: groups of a batch: questions, recorded rows or pairs.
        reward_calls: completions that the reward judged.
        seconds: of training, evaluations apart.
    """

    flops: float | None = None
    generated_tokens: int | None = None
    trained_tokens: int | None = None
    prompts: int | None = None
    reward_calls: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        given = self._given()
        if len(given) > 1:
            raise UserError(
                f"budget.{' and budget.'.join(given)} are given: one unit is equal, the others are reported"
            )
        if given and not self.amount > 0:
            raise UserError(f"budget.{self.unit}={self.amount}: expected a number above 0")

    def _given(self) -> list[str]:
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]

    @property
    def unit(self) -> str | None:
        """The name of the unit, None without a budget."""
        return next(iter(self._given()), None)

    @property
    def amount(self) -> float:
        """How much of it; infinity without a budget."""
        return float("inf") if self.unit is None else getattr(self, self.unit)

    def check(self, source: DataSource, reward: RewardFunction) -> None:
        """Raises UserError for a budget that these cannot spend batch by batch, however long they run."""
        other = "; take another unit, e.g. budget.flops=1e14 or budget.trained_tokens=10000"
        if self.unit == "generated_tokens" and not source.on_policy:
            raise UserError(
                f"budget.generated_tokens cannot be spent by data {source.name}: it draws no completion while it trains"
                + other
            )
        if self.unit == "reward_calls" and not reward.judges:
            raise UserError(
                f"budget.reward_calls cannot be spent: reward {reward.name} repeats what the data says, and judges none"
                + other
            )


@dataclass
class Meter:
    """How much of a budget a run has spent.

    Attributes:
        budget: what it may spend.
        spent: so far. largest: the most that one batch took.
    """

    budget: Budget
    spent: float = 0.0
    largest: float = 0.0

    @property
    def share(self) -> float:
        """The share that is spent, at most 1; 0 without a budget."""
        return min(1.0, self.spent / self.budget.amount)

    def start(self, total: float) -> None:
        """Takes what was spent before the first batch. Raises UserError if that leaves nothing."""
        self.spent = total
        if self.share >= 1:
            unit = self.budget.unit
            raise UserError(
                f"budget.{unit}={self.budget.amount:g}: {total:g} are spent before the first batch (completions that "
                "are sampled once, the run whose adapter this one starts from); raise it, or lower data.pool"
            )

    def read(self, total: float) -> None:
        """Takes what a run has spent after a batch."""
        self.largest, self.spent = max(self.largest, total - self.spent), total

    def as_dict(self) -> dict[str, float | str] | None:
        """Returns what summary.json says of it; None without a budget."""
        unit = self.budget.unit
        if unit is None:
            return None
        return {"unit": unit, "amount": self.budget.amount, "spent": self.spent, "largest_batch": self.largest}

"""What one optimiser step does to log π(o | q), or to a score: to first order, and as it is."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlft.base import Batch, Processes
from rlft.models.policy import Policy
from rlft.models.roles import score_rows


@dataclass(frozen=True)
class Effect:
    """The change of log π(o | q) of each completion, nats, or of its score.

    Attributes:
        predicted: [B], ⟨∇log π(o | q), δθ⟩, for the change δθ that the optimiser made.
        measured: [B], log π after the step less log π before it.
    """

    predicted: Tensor
    measured: Tensor

    @property
    def agreement(self) -> float | None:
        """The share of completions whose changes have one sign; None where the step changes nothing."""
        moved = (self.predicted != 0) | (self.measured != 0)
        if not bool(moved.any()):
            return None
        return float((self.predicted.sign() == self.measured.sign())[moved].double().mean())


def one_step(
    policy: Policy, batch: Batch, parameters: Sequence[nn.Parameter], tokens: int, step: Callable[[], object]
) -> Effect:
    """Returns the effect of a step on the completions of a batch, and takes it back.

    To first order log π(o | q) changes by ⟨∇log π(o | q), δθ⟩ whatever optimiser chose δθ: for a plain gradient step of
    size η along Σ w·GC·∇log π that is η times the inner product of the two gradients, for AdamW it has its
    preconditioner in it.

    Args:
        policy: what is moved. parameters: its trained weights. tokens: positions that go through it at once.
        batch: completions, whose trained tokens count. step: changes the parameters.
    """
    before = _total(policy, batch, tokens)
    with restored(parameters) as start:
        step()
        measured = _total(policy, batch, tokens) - before
        moved = [p.detach() - old for p, old in zip(parameters, start, strict=True)]
    predicted = [_along(policy, batch.rows(torch.tensor([row])), parameters, moved) for row in range(len(batch))]
    return Effect(torch.tensor(predicted, dtype=torch.float64), measured)


@contextmanager
def restored(parameters: Sequence[nn.Parameter]) -> Iterator[list[Tensor]]:
    """Gives parameters back the values they had, bit for bit; yields those."""
    start = [p.detach().clone() for p in parameters]
    try:
        yield start
    finally:
        with torch.no_grad():
            for p, old in zip(parameters, start, strict=True):
                p.copy_(old)


def _total(policy: Policy, batch: Batch, tokens: int) -> Tensor:
    """Returns log π(o | q) of each row [B], or its score, in float64."""
    rows = score_rows(policy, batch, tokens, "completion", Processes()).double()
    return policy.whole(rows, batch.mask.to(rows.device)).cpu()


def _along(policy: Policy, row: Batch, parameters: Sequence[nn.Parameter], moved: Sequence[Tensor]) -> float:
    """Returns the derivative of a row's log π, or of its score, in the direction that the parameters moved in."""
    logp, _ = policy(row)
    total = policy.whole(logp, row.mask.to(logp.device)).sum()
    gradients = torch.autograd.grad(total, list(parameters), allow_unused=True)
    pairs = [(g, m) for g, m in zip(gradients, moved, strict=True) if g is not None]
    return float(sum((g.double() * m.double()).sum() for g, m in pairs))

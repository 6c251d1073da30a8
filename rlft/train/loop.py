"""The one loop: every method moves the policy along Σ w · GC · ∇log π."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from rlft.base import Algorithm, Batch, Processes, Role, RunError, derive_seed, generator
from rlft.models.mismatch import Mismatch
from rlft.models.optimizer import MasterAdamW
from rlft.models.policy import Policy
from rlft.train.diagnostics import Diagnostics
from rlft.train.kl_control import KLControl
from rlft.train.metrics import Tally


@dataclass
class Learner:
    """Takes a batch's optimiser steps.

    Attributes:
        policy, algorithm, roles: what is trained, by which coefficient, with which models beside it.
        optimizer, scheduler: of the policy.
        epochs, mini_batches: passes over a batch, and optimiser steps in each.
        tokens: positions that go through the model at once. max_atoms: atoms likewise, None for no bound.
        dropout: whether the adapter's dropout is on while the policy learns (never while it is sampled or compared).
        correction: what weighs tokens that another engine drew; None where the policy drew them itself.
        on_policy: whether the completions are π_θ's own, so that their means are estimates of it.
        diagnostics: follows the gradients. kl_control: adapts the algorithm's β after each batch; None leaves it.
    """

    policy: Policy
    algorithm: Algorithm
    roles: list[Role]
    optimizer: MasterAdamW
    scheduler: torch.optim.lr_scheduler.LRScheduler
    processes: Processes
    seed: int
    epochs: int
    mini_batches: int
    tokens: int
    max_norm: float
    dropout: bool = False
    correction: Mismatch | None = None
    max_atoms: int | None = None
    on_policy: bool = True
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    kl_control: KLControl | None = None

    def annotate(self, batch: Batch) -> Batch:
        """Returns the batch with what the roles know and what the algorithm makes of it, on every process alike."""
        for role in self.roles:
            batch = role.annotate(batch)
        with torch.no_grad():
            return self.algorithm.prepare(batch)

    def update(self, batch: Batch, step: int, frozen: bool = False) -> dict[str, float | None]:
        """Goes over an annotated batch; returns its metrics. With `frozen` only the roles learn."""
        tally = Tally(self.algorithm.clip_range, self.on_policy)
        torch.manual_seed(derive_seed(self.seed, "dropout", step, self.processes.rank))
        norms: list[float] = []
        learnt: dict[str, float | None] = {}
        for epoch in range(self.epochs):
            order = generator(self.seed, "mini-batches", step, epoch)
            for mini in batch.mini_batches(self.mini_batches, self.algorithm.atom, order):
                weight = self.algorithm.reduction(mini.mask, mini.group)
                mini = mini.replace(weight=weight.to(mini.reward.dtype))
                if not frozen:
                    if self.dropout:  # going over thousands of modules twice takes 0.1 s
                        self.policy.train()
                    self.accumulate(mini, tally, step)
                    if self.dropout:
                        self.policy.eval()
                    norms.append(self._step(step))
                for role in self.roles:
                    learnt |= _named(step, role, mini)
        if norms:
            learnt |= {"grad_norm": sum(norms) / len(norms), **self.diagnostics.metrics(step + 1)}
        metrics = {**tally.metrics(self.processes), **learnt}
        if self.kl_control is not None:
            metrics["kl/beta"] = self.algorithm.kl_weight
            self.algorithm = self.kl_control.adapt(self.algorithm, metrics["kl"], len(batch))
        return metrics

    def accumulate(self, mini: Batch, tally: Tally, step: int) -> None:
        """Adds this process's part of Σ w · GC · ∇log π of a mini-batch to the gradients, the same by any split."""
        mine = mini.mine(self.processes.rank, self.processes.world, self.algorithm.atom)
        mine = self._without_zeros(mine, tally)
        if not len(mine):
            return
        for micro in mine.micro_batches(self.algorithm.atom, self.tokens, self.max_atoms, self.policy.flat):
            micro = micro.to(self.policy.device)
            assert micro.weight is not None
            logp, entropy = self.policy(micro)
            gc = self.algorithm.coefficient(micro, logp.detach())
            weight, mismatch = micro.weight, None
            if self.correction is not None:
                mismatch = self.correction.weigh(micro, logp.detach())
                weight = weight * mismatch[0]
            incoming = -(weight * gc)
            _refuse_non_finite(micro, logp, incoming, step)
            tally.add(micro, logp.detach(), entropy, gc, mismatch)
            if bool(incoming.any()):
                logp.backward(incoming)

    def _without_zeros(self, mine: Batch, tally: Tally) -> Batch:
        """Drops the atoms none of whose rows has a coefficient: they add nothing, and what the others weigh is set."""
        zero = self.algorithm.vanishes(mine)
        if not bool(zero.any()):
            return mine
        alive = [rows for rows in mine.atoms(self.algorithm.atom) if not bool(zero[rows].all())]
        kept = mine.rows(torch.cat(alive) if alive else torch.empty(0, dtype=torch.long))
        tally.skip(int(mine.mask.sum()) - int(kept.mask.sum()))
        return kept

    def _step(self, step: int) -> float:
        norm = self.optimizer.step(self.max_norm, self.processes, self.diagnostics.take)
        if norm != norm or norm == float("inf"):
            raise RunError(
                f"step {step}: the gradient's norm is {norm}; no weight was changed. Lower trainer.learning_rate, or "
                "go on from the last checkpoint with `rlft resume`"
            )
        self.scheduler.step()
        return norm


def _named(step: int, role: Role, mini: Batch) -> dict[str, float]:
    """Lets a role learn; a failure says at which step."""
    try:
        return role.learn(mini)
    except RunError as error:
        raise RunError(f"step {step}: {error}") from error


def _refuse_non_finite(micro: Batch, logp: Tensor, incoming: Tensor, step: int) -> None:
    for what, values in (("log π", logp.detach()), ("coefficient", incoming)):
        bad = ~torch.isfinite(values).all(1)
        if bool(bad.any()):
            assert micro.row is not None
            rows = micro.row[bad].tolist()
            raise RunError(
                f"step {step}: the {what} of rows {rows} of the batch is not finite; nothing was changed by it"
            )

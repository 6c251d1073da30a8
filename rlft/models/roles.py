"""Models beside the policy that annotate a batch: the reference and the policy as it was when the batch was drawn."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from rlft import ops
from rlft.base import Atom, Batch, Role, UserError
from rlft.base.batch import integers
from rlft.base.processes import Processes
from rlft.models.adapter import has_adapter, only
from rlft.models.load import REFERENCE
from rlft.models.policy import CHUNK_NUMBERS, Policy
from rlft.models.row_cache import RowCache
from rlft.models.sampler import ReferenceModel


class Reference:
    """π_ref: the model without its adapter; the frozen copy of an adapter that the run went on from (or another frozen
    one, by its name); or, where all weights are trained, a frozen copy of the model.

    The copy costs a second model, and is made only with `keep`: without it π_ref can be asked for before the first
    optimiser step, when it is the model itself.
    """

    def __init__(self, policy: Policy, keep: bool = True, adapter: str = REFERENCE):
        self.policy = policy
        self._copy: Policy | None = None
        self._adapter = adapter if has_adapter(policy.model) and adapter in policy.model.peft_config else None
        if keep and not has_adapter(policy.model):
            self._copy = copy.deepcopy(policy).requires_grad_(False)

    @contextmanager
    def active(self) -> Iterator[Policy]:
        """Returns a context in which the given policy computes π_ref."""
        if self._copy is not None:
            yield self._copy
        elif not has_adapter(self.policy.model):
            yield self.policy
        else:
            with only(self.policy.model, self._adapter):
                yield self.policy


@torch.no_grad()
def over_processes(
    policy: Policy, batch: Batch, tokens: int, atom: Atom, processes: Processes, score: Callable[[Batch], Tensor]
) -> Tensor:
    """Returns what `score` gives for each row [B, T] of a whole batch, without gradient; every process computes its
    share by micro-batches of at most `tokens` positions and all get the whole."""
    result = torch.zeros(batch.mask.shape, dtype=torch.float64)
    marked = batch.replace(row=torch.arange(len(batch), device=batch.group.device))
    mine = marked.mine(processes.rank, processes.world, atom)
    for micro in mine.micro_batches(atom, tokens, flat=policy.flat) if len(mine) else []:
        values = score(micro)
        assert micro.row is not None
        result[micro.row.cpu(), : values.shape[1]] = values.cpu().double()
    if len(batch):
        processes.add([result])
    return result.to(device=batch.mask.device, dtype=policy.score_dtype)


def score_rows(policy: Policy, batch: Batch, tokens: int, atom: Atom, processes: Processes) -> Tensor:
    """Returns log π [B, T] of a whole batch under a policy, nats."""
    return over_processes(policy, batch, tokens, atom, processes, lambda micro: policy(micro)[0])


class ReferenceRole(Role):
    """Fills `logp_ref`.

    With a cache only rows that it does not hold are run: for data that comes again, since π_ref never changes. It is
    part of the checkpoint, because rows run again beside others may round differently. Every process holds all of it,
    and so they agree on what is to be run.
    """

    def __init__(
        self, reference: ReferenceModel, tokens: int, atom: Atom, processes: Processes, cache: RowCache | None = None
    ):
        self.atom: Atom = atom
        self.reference, self.tokens, self.processes = reference, tokens, processes
        self.cache = cache
        self._ran: Batch | None = None

    def annotate(self, batch: Batch) -> Batch:
        """Returns the batch with log π_ref [B, T]."""
        return batch.replace(logp_ref=self.score(batch))

    def score(self, batch: Batch) -> Tensor:
        """Returns log π_ref [B, T], nats."""
        run = self._ran = batch if self.cache is None else self.cache.missing(batch)
        with self.reference.active() as policy:
            logp = score_rows(policy, run, self.tokens, self.atom, self.processes)
        return logp if self.cache is None else self.cache.complete(batch, run, logp)

    def ran(self, batch: Batch) -> Batch:
        """Returns the rows that the cache did not hold."""
        return batch if self._ran is None else self._ran

    def state_dict(self) -> dict[str, Any]:
        """Returns the cache, if there is one."""
        return {} if self.cache is None else self.cache.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores it; a checkpoint without one leaves the cache empty."""
        if self.cache is not None and state:
            self.cache.load_state_dict(state)


class FullKLRole(Role):
    """Fills `kl_full`: KL(π_θ ‖ π_ref) of every distribution that a trained token was drawn from, as π_θ is before the
    batch's first optimiser step. Both models are run, and their logits are held a few rows at a time."""

    def __init__(self, reference: Reference, tokens: int, atom: Atom, processes: Processes):
        self.atom: Atom = atom
        self.reference, self.tokens, self.processes = reference, tokens, processes

    def annotate(self, batch: Batch) -> Batch:
        """Returns the batch with the divergence [B, T], nats."""
        policy = self.reference.policy
        return batch.replace(
            kl_full=over_processes(policy, batch, self.tokens, self.atom, self.processes, self._divergence)
        )

    def _divergence(self, batch: Batch) -> Tensor:
        policy = self.reference.policy
        batch = batch.to(policy.device)
        hidden = policy.hidden(batch)
        with self.reference.active() as reference:
            other = reference.hidden(batch)
        rows = max(16, CHUNK_NUMBERS // policy.base.get_output_embeddings().weight.shape[0])
        parts: list[Tensor] = []
        for of_policy, of_reference in zip(hidden.split(rows), other.split(rows), strict=True):
            # An adapter on the head has to be switched; doing so goes through the whole model.
            with nullcontext() if policy.plain_head else self.reference.active():
                logits = reference.logits(of_reference)
            parts.append(ops.full_kl(policy.logits(of_policy), logits))
        blank = torch.zeros(batch.mask.shape, dtype=policy.score_dtype, device=policy.device)
        return blank.masked_scatter(batch.mask, torch.cat(parts).to(blank.dtype))


class MismatchedRole(Role):
    """Fills `mismatched`: Σ_t log(π_θ/π_ref) of another query's completion after each row's prompt, as π_θ is before
    the batch's first optimiser step. Rows take that of a later row with another prompt, going
    round."""

    def __init__(self, reference: Reference, tokens: int, atom: Atom, processes: Processes):
        self.atom: Atom = atom
        self.reference, self.tokens, self.processes = reference, tokens, processes

    def annotate(self, batch: Batch) -> Batch:
        """Returns the batch with the sums [B]. Raises UserError if all its prompts are one."""
        other = next_prompt(batch)
        moved = batch.replace(**{name: getattr(batch, name)[other] for name in ("completion_ids", "attention", "mask")})
        logp = score_rows(self.reference.policy, moved, self.tokens, self.atom, self.processes)
        with self.reference.active() as reference:
            logp_ref = score_rows(reference, moved, self.tokens, self.atom, self.processes)
        return batch.replace(mismatched=ops.row_sum(logp - logp_ref, moved.mask))


def next_prompt(batch: Batch) -> Tensor:
    """Returns for each row [B] the next row, going round, whose prompt is another: two queries may ask the same.

    Raises UserError if there is none.
    """
    prompts = [tuple(integers(ids[mask])) for ids, mask in zip(batch.prompt_ids, batch.prompt_mask, strict=True)]
    of_row = [prompts[owner] for owner in integers(batch.group)]
    count, rows = len(of_row), list[int]()
    for row, own in enumerate(of_row):
        alike = of_row.count(own)  # beyond these, so that rows of one prompt take different rows of the next
        places = [(row + k) % count for k in (*range(alike, count), *range(1, alike))]
        others = [place for place in places if of_row[place] != own]
        if not others:
            raise UserError(
                "a completion is compared with that of another question, and the batch has one question alone; type "
                "trainer.prompts_per_step=2 or more"
            )
        rows.append(others[0])
    return torch.tensor(rows, device=batch.group.device)


class OldPolicyRole(Role):
    """Fills `logp_old`: the policy before the batch's first optimiser step."""

    def __init__(self, policy: Policy, tokens: int, atom: Atom, processes: Processes):
        self.atom: Atom = atom
        self.policy, self.tokens, self.processes = policy, tokens, processes

    def annotate(self, batch: Batch) -> Batch:
        """Returns the batch with log π_old [B, T]."""
        return batch.replace(logp_old=score_rows(self.policy, batch, self.tokens, self.atom, self.processes))

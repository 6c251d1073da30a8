"""The batch: B completions of K queries as tensors, and how it is split without changing its gradient."""

from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
from torch import Tensor

from rlft.base.errors import UserError


@dataclass(frozen=True)
class Batch:
    """B completions of K queries. T completion positions, P prompt positions.

    `logp[b, t]` scores `completion_ids[b, t]`, and every [B, T] field aligns with it. Prompts are stored once a query.

    Attributes:
        prompt_ids: [K, P] left-padded. prompt_mask: [K, P] bool.
        completion_ids: [B, T] right-padded. attention: [B, T] bool, True where there is a token.
        mask: [B, T] bool, the o_t that are trained, a subset of attention.
        group: [B] long, the row of prompt_ids that a completion answers; rows of one group stand together.
        finished: [B] bool, ended by itself.
        reward: [B] float.
        step_reward, step_end: [B, T], the reward given at a step's last token, and where those are (bool). What stands
            in `step_reward` elsewhere is not read.
        weight: [B, T], the normaliser.
        logp_old, logp_ref, logp_teacher, logp_sampled: [B, T] nats. kl_full: [B, T], KL(π_θ ‖ π_ref) of the
            distribution that o_t was drawn from, over the whole vocabulary, nats. value: [B, T], V of the state before
            o_t.
        mismatched: [B] nats, Σ_t log(π_θ/π_ref) of another query's completion after this row's prompt.
        advantage, returns: [B, T].
        teacher_prompt_ids, teacher_prompt_mask: [K, P'], what a teacher is to read in the place of the prompts, if that
            is something else; gone once it has.
        row: [B] long, each row's number in the whole batch, so that a part can be traced back.
    """

    prompt_ids: Tensor
    prompt_mask: Tensor
    completion_ids: Tensor
    attention: Tensor
    mask: Tensor
    group: Tensor
    finished: Tensor
    reward: Tensor
    step_reward: Tensor | None = None
    step_end: Tensor | None = None
    weight: Tensor | None = None
    logp_old: Tensor | None = None
    logp_ref: Tensor | None = None
    logp_teacher: Tensor | None = None
    logp_sampled: Tensor | None = None
    kl_full: Tensor | None = None
    value: Tensor | None = None
    mismatched: Tensor | None = None
    advantage: Tensor | None = None
    returns: Tensor | None = None
    teacher_prompt_ids: Tensor | None = None
    teacher_prompt_mask: Tensor | None = None
    row: Tensor | None = None

    def __len__(self) -> int:
        return int(self.completion_ids.shape[0])

    def replace(self, **changes: Tensor | None) -> "Batch":
        """Returns a copy with some fields changed."""
        return replace(self, **changes)

    def to(self, device: torch.device | str) -> "Batch":
        """Returns the batch on a device."""
        return self.replace(**{f.name: v.to(device) for f in fields(self) if (v := getattr(self, f.name)) is not None})

    def rows(self, index: Tensor) -> "Batch":
        """Returns the given rows [N] (long), with the prompts they use and no more padding than they need."""
        owners = integers(self.group[index])
        used = sorted(set(owners))
        place = {owner: k for k, owner in enumerate(used)}
        width = max(1, int(self.attention[index].sum(1).max())) if len(index) else 1
        changes: dict[str, Tensor] = {
            "group": torch.tensor([place[owner] for owner in owners], dtype=torch.long, device=self.group.device),
            **_prompts("prompt", self.prompt_ids[used], self.prompt_mask[used]),
        }
        if self.teacher_prompt_ids is not None and self.teacher_prompt_mask is not None:
            changes |= _prompts("teacher_prompt", self.teacher_prompt_ids[used], self.teacher_prompt_mask[used])
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None and f.name not in changes:
                changes[f.name] = value[index] if value.ndim == 1 else value[index, :width]
        return self.replace(**changes)

    def atoms(self, atom: Literal["completion", "group"]) -> list[Tensor]:
        """Returns the row indices of every atom: each row alone, or the rows of each group together."""
        if atom == "completion":
            return list(torch.arange(len(self)).unsqueeze(1))
        rows: dict[int, list[int]] = {}
        for row, owner in enumerate(integers(self.group)):
            rows.setdefault(owner, []).append(row)
        return [torch.tensor(rows[owner]) for owner in sorted(rows)]

    def mini_batches(
        self, count: int, atom: Literal["completion", "group"], generator: torch.Generator
    ) -> list["Batch"]:
        """Splits into `count` parts of whole atoms, as equal as may be, in an order drawn from the generator; a single
        part keeps the order. Raises UserError if there are fewer atoms than parts."""
        if count == 1:
            return [self]
        atoms = self.atoms(atom)
        if len(atoms) < count:
            raise UserError(
                f"trainer.mini_batches={count}: the batch has {len(atoms)} {atom}s; type trainer.mini_batches="
                f"{len(atoms)} or fewer, or more trainer.prompts_per_step"
            )
        order = integers(torch.randperm(len(atoms), generator=generator))
        return [self.rows(torch.cat([atoms[i] for i in sorted(order[part::count])])) for part in range(count)]

    def mine(self, rank: int, world: int, atom: Literal["completion", "group"]) -> "Batch":
        """Returns this process's share of whole atoms; it may be empty."""
        if world == 1:
            return self
        share = self.atoms(atom)[rank::world]
        return self.rows(torch.cat(share) if share else torch.empty(0, dtype=torch.long))

    def micro_batches(
        self,
        atom: Literal["completion", "group"],
        max_tokens: int | None = None,
        max_atoms: int | None = None,
        flat: bool = False,
    ) -> list["Batch"]:
        """Splits into parts of whole atoms that hold at most `max_tokens` positions each, prompts included (an atom
        larger than that stands alone), and at most `max_atoms` atoms. Rows of a group stay together as far as they may,
        since they share a prompt, and groups of like length go together. Padding counts, unless the model takes rows
        `flat`."""
        lengths, prompts = integers(self.attention.sum(1)), integers(self.prompt_mask.sum(1))
        owners = integers(self.group)
        longest: dict[int, int] = {}
        for owner, length in zip(owners, lengths, strict=True):
            longest[owner] = max(length, longest.get(owner, 0))
        atoms = [integers(rows) for rows in self.atoms(atom)]
        atoms.sort(key=lambda rows: (longest[owners[rows[0]]], owners[rows[0]], max(lengths[row] for row in rows)))
        parts: list[list[int]] = []
        count = 0  # atoms in the last part
        for rows in atoms:
            together = [*parts[-1], *rows] if parts else rows
            size = _positions([lengths[r] for r in together], [prompts[g] for g in {owners[r] for r in together}], flat)
            room = (max_tokens is None or size <= max_tokens) and (max_atoms is None or count < max_atoms)
            if parts and room:
                parts[-1], count = together, count + 1
            else:
                parts.append(rows)
                count = 1
        return [self.rows(torch.tensor(part)) for part in parts]


def _prompts(kind: str, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Returns left-padded prompts with no more padding than they need, under their names in a batch."""
    start = mask.shape[1] - (max(1, int(mask.sum(1).max())) if len(mask) else 1)
    return {f"{kind}_ids": ids[:, start:], f"{kind}_mask": mask[:, start:]}


def _positions(lengths: list[int], prompts: list[int], flat: bool) -> int:
    if flat:
        return sum(lengths) + sum(prompts)
    return len(lengths) * max(lengths) + len(prompts) * max(prompts)


def integers(values: Tensor) -> list[int]:
    """Returns a vector of whole numbers as a list."""
    return values.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

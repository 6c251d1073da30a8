"""The batch: B completions of K queries as tensors, and how it is split without changing its gradient."""

from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
from torch import Tensor

PROMPT_FIELDS = ("prompt_ids", "prompt_mask")


@dataclass(frozen=True)
class Batch:
    """B completions of K queries. T completion positions, P prompt positions.

    `logp[b, t]` scores `completion_ids[b, t]`, and every [B, T] field aligns with it. Prompts are stored once per query.

    Attributes:
        prompt_ids: [K, P] left-padded. prompt_mask: [K, P] bool.
        completion_ids: [B, T] right-padded. attention: [B, T] bool, True where there is a token.
        mask: [B, T] bool, the o_t that are trained, a subset of attention.
        group: [B] long, the row of prompt_ids that a completion answers; rows of one group stand together.
        finished: [B] bool, ended by itself.
        reward: [B] float.
        step_reward, step_end: [B, T], the reward given at a step's last token, and where those are (bool).
        weight: [B, T], the normaliser.
        logp_old, logp_ref, logp_sampled: [B, T] nats. value: [B, T], V of the state before o_t.
        advantage, returns: [B, T].
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
    logp_sampled: Tensor | None = None
    value: Tensor | None = None
    advantage: Tensor | None = None
    returns: Tensor | None = None
    row: Tensor | None = None

    def __len__(self) -> int:
        return int(self.completion_ids.shape[0])

    def replace(self, **changes: Tensor | None) -> "Batch":
        """Returns a copy with some fields changed."""
        return replace(self, **changes)

    def to(self, device: torch.device | str) -> "Batch":
        """Returns the batch on a device."""
        return self.replace(
            **{f.name: v.to(device) for f in fields(self) if (v := getattr(self, f.name)) is not None}
        )

    def rows(self, index: Tensor) -> "Batch":
        """Returns the given rows [N] (long), with the prompts they use and no more padding than they need."""
        used, group = torch.unique(self.group[index], return_inverse=True)
        width = max(1, int(self.attention[index].sum(1).max())) if len(index) else 1
        prompt_mask = self.prompt_mask[used]
        start = self.prompt_mask.shape[1] - (max(1, int(prompt_mask.sum(1).max())) if len(used) else 1)
        changes: dict[str, Tensor] = {
            "prompt_ids": self.prompt_ids[used][:, start:],
            "prompt_mask": prompt_mask[:, start:],
            "group": group,
        }
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None and f.name not in changes:
                changes[f.name] = value[index] if value.ndim == 1 else value[index, :width]
        return self.replace(**changes)

    def atoms(self, atom: Literal["completion", "group"]) -> list[Tensor]:
        """Returns the row indices of every atom: each row alone, or the rows of each group together."""
        if atom == "completion":
            return list(torch.arange(len(self)).unsqueeze(1))
        return [torch.nonzero(self.group == g).flatten() for g in torch.unique(self.group)]

    def mini_batches(
        self, count: int, atom: Literal["completion", "group"], generator: torch.Generator
    ) -> list["Batch"]:
        """Splits into `count` parts of whole atoms, as equal as may be, in an order drawn from the generator; a single
        part keeps the order. Raises ValueError if there are fewer atoms than parts."""
        if count == 1:
            return [self]
        atoms = self.atoms(atom)
        if len(atoms) < count:
            raise ValueError(f"{count} mini-batches were asked for, the batch has {len(atoms)} {atom}s")
        order = torch.randperm(len(atoms), generator=generator).tolist()
        return [
            self.rows(torch.cat([atoms[i] for i in sorted(order[part::count])])) for part in range(count)
        ]

    def mine(self, rank: int, world: int, atom: Literal["completion", "group"]) -> "Batch":
        """Returns this process's share of whole atoms; it may be empty."""
        if world == 1:
            return self
        share = self.atoms(atom)[rank::world]
        return self.rows(torch.cat(share) if share else torch.empty(0, dtype=torch.long))

    def micro_batches(
        self, atom: Literal["completion", "group"], max_tokens: int | None = None, max_atoms: int | None = None
    ) -> list["Batch"]:
        """Splits into parts of whole atoms that hold at most `max_tokens` positions each, padding and prompts included
        (an atom larger than that stands alone), and at most `max_atoms` atoms. Rows of like length go together."""
        lengths = self.attention.sum(1)
        prompts = self.prompt_mask.sum(1)
        atoms = sorted(self.atoms(atom), key=lambda rows: int(lengths[rows].max()))
        parts: list[list[Tensor]] = []
        for rows in atoms:
            if parts and (max_atoms is None or len(parts[-1]) < max_atoms):
                index = torch.cat([*parts[-1], rows])
                groups = torch.unique(self.group[index])
                size = len(index) * int(lengths[index].max()) + len(groups) * int(prompts[groups].max())
                if max_tokens is None or size <= max_tokens:
                    parts[-1].append(rows)
                    continue
            parts.append([rows])
        return [self.rows(torch.cat(part)) for part in parts]

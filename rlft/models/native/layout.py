"""Where every token of a batch stands when it is laid out flat, without padding and with each prompt once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlft.base import Batch
from rlft.base.batch import integers

WASTE = 1.2  # sequences are attended to together while padding them costs at most this much of their tokens
ENOUGH = 256  # tokens; fewer are attended to together whatever the padding
ALONE = slice(0, 0)  # the prompt that a root has before it: none


@dataclass(frozen=True)
class Bundle:
    """B sequences of like length, at most T tokens each: completions that branch off one prompt, or roots.

    Attributes:
        prompt: its span of the flat order; empty for roots.
        span: their part of the flat order, where they stand one after another.
        count, width: B and T.
        take: [B·T] flat index of token t of sequence b, padding pointing at some token; None without padding.
        real: [N'] the places in `take` that are tokens, in flat order; None likewise.
    """

    prompt: slice
    span: slice
    count: int
    width: int
    take: Tensor | None = None
    real: Tensor | None = None

    @property
    def before(self) -> int:
        """Tokens of the prompt."""
        return self.prompt.stop - self.prompt.start


@dataclass(frozen=True)
class Layout:
    """N tokens in one row. Roots are sequences on their own: a prompt whose completions branch off, or a prompt with
    its only completion behind it. A completion's last token is no input: nothing is predicted from it.

    Attributes:
        ids, positions: [N] long.
        roots, branches: bundles; no branches where every prompt has one completion.
        outputs: [M] the flat index of the state before each trained token, in the order of `mask.nonzero()`.
    """

    ids: Tensor
    positions: Tensor
    roots: list[Bundle]
    branches: list[Bundle]
    outputs: Tensor

    @property
    def bundles(self) -> list[Bundle]:
        """All sequences, a prompt before its branches."""
        return self.roots + self.branches


def lay_out(batch: Batch) -> Layout:
    """Returns the flat layout of a batch on the CPU or on its device."""
    prompts = _rows(batch.prompt_ids, batch.prompt_mask)
    completions = [row[:-1] for row in _rows(batch.completion_ids, batch.attention)]
    members: dict[int, list[int]] = {}
    for row, owner in enumerate(integers(batch.group)):
        members.setdefault(owner, []).append(row)
    length = {k: len(prompts[k]) + (len(completions[rows[0]]) if len(rows) == 1 else 0) for k, rows in members.items()}
    members = {k: members[k] for k in sorted(members, key=length.__getitem__)}  # those of like length are bundled
    ids: list[int] = []
    positions: list[int] = []
    roots: list[slice] = []
    before = [0] * len(completions)  # flat index of the state before a completion's first token
    begin = [0] * len(completions)  # flat index of its first token
    for owner, rows in members.items():
        begun = len(ids)
        ids += prompts[owner]
        if len(rows) == 1:
            ids += completions[rows[0]]
        for row in rows:
            before[row] = begun + len(prompts[owner]) - 1
            begin[row] = before[row] + 1
        positions += range(len(ids) - begun)
        roots.append(slice(begun, len(ids)))
    start = len(ids)
    branches: list[tuple[slice, int]] = []  # the prompt's span and the length of each
    for root, (owner, rows) in zip(roots, members.items(), strict=True):
        for row in sorted(rows, key=lambda row: len(completions[row])) if len(rows) > 1 else []:
            begin[row] = len(ids)
            ids += completions[row]
            positions += range(len(prompts[owner]), len(prompts[owner]) + len(completions[row]))
            branches.append((root, len(completions[row])))
    device = batch.group.device
    return Layout(
        ids=torch.tensor(ids, device=device),
        positions=torch.tensor(positions, device=device),
        roots=_bundled(0, [(ALONE, root.stop - root.start) for root in roots], device),
        branches=_bundled(start, branches, device),
        outputs=_outputs(batch.mask, before, begin),
    )


def lay_out_prompts(prompts: list[list[int]], device: torch.device) -> Layout:
    """Returns the layout of prompts alone; the outputs are their last states."""
    ends = torch.tensor([len(p) for p in prompts]).cumsum(0)
    return Layout(
        ids=torch.tensor([i for p in prompts for i in p], device=device),
        positions=torch.cat([torch.arange(len(p)) for p in prompts]).to(device),
        roots=_bundled(0, [(ALONE, len(p)) for p in prompts], device),
        branches=[],
        outputs=(ends - 1).to(device),
    )


def _bundled(start: int, sequences: list[tuple[slice, int]], device: torch.device) -> list[Bundle]:
    """Returns sequences, each the prompt it branches off and its length, in bundles of one prompt and of like length,
    from flat index `start` on; empty ones are in none."""
    bundles: list[list[tuple[slice, int]]] = []
    for sequence in sequences:
        if sequence[1] == 0:
            continue
        lengths = [length for _, length in (*bundles[-1], sequence)] if bundles else []
        padded = len(lengths) * max(lengths, default=0)
        alike = bool(bundles) and bundles[-1][0][0] == sequence[0]
        if alike and (padded <= ENOUGH or padded <= WASTE * sum(lengths)):
            bundles[-1].append(sequence)
        else:
            bundles.append([sequence])
    found: list[Bundle] = []
    for bundle in bundles:
        found.append(_bundle(start, bundle, device))
        start = found[-1].span.stop
    return found


def _bundle(start: int, sequences: list[tuple[slice, int]], device: torch.device) -> Bundle:
    lengths = [length for _, length in sequences]
    prompt, span, width = sequences[0][0], slice(start, start + sum(lengths)), max(lengths)
    if min(lengths) == width:
        return Bundle(prompt, span, len(lengths), width)
    size = torch.tensor(lengths)[:, None]
    begin = start + size.cumsum(0) - size
    offset = torch.arange(width)[None]
    take = (begin + torch.minimum(offset, size - 1)).flatten()  # padding reads the sequence's last token
    real = (offset < size).flatten().nonzero()[:, 0]
    return Bundle(prompt, span, len(lengths), width, take.to(device), real.to(device))


def _outputs(mask: Tensor, before: list[int], begin: list[int]) -> Tensor:
    first = torch.tensor(before, device=mask.device)
    rest = torch.tensor(begin, device=mask.device) - 1
    row, t = mask.nonzero(as_tuple=True)
    return torch.where(t == 0, first[row], rest[row] + t)


def _rows(ids: Tensor, mask: Tensor) -> list[list[int]]:
    return [integers(row[here]) for row, here in zip(ids, mask, strict=True)]

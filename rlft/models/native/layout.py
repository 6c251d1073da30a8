"""Where every token of a batch stands when it is laid out flat, without padding and with each prompt once.

What all prompts begin with, as templates and instructions make them, is there once too: the opening.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlft.base import Batch
from rlft.base.batch import integers

WASTE = 1.2  # sequences are attended to together while padding them costs at most this much of their tokens
ENOUGH = 256  # tokens; fewer are attended to together whatever the padding
WORTH = 32  # tokens that an opening must save, for it is one more sequence to attend to

Path = tuple[slice, ...]  # spans of the flat order


@dataclass(frozen=True)
class Bundle:
    """B sequences of like length, at most T tokens each, that have the same tokens before them.

    Attributes:
        path: where what they go on from stands: the opening for prompts, that and their prompt for completions.
        span: their part of the flat order, where they stand one after another.
        count, width: B and T.
        take: [B·T] flat index of token t of sequence b, padding pointing at some token; None without padding.
        real: [N'] the places in `take` that are tokens, in flat order; None likewise.
    """

    path: Path
    span: slice
    count: int
    width: int
    take: Tensor | None = None
    real: Tensor | None = None

    @property
    def before(self) -> int:
        """Tokens of the path."""
        return sum(span.stop - span.start for span in self.path)


@dataclass(frozen=True)
class Layout:
    """N tokens in one row: the opening, the prompts without it, and the completions that branch off. A prompt's only
    completion stands behind it, as one sequence. A completion's last token is no input: nothing is predicted from it.

    Attributes:
        ids, positions: [N] long.
        roots, branches: bundles of prompts, the opening before them, and of what branches off.
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


def opening(prompts: list[list[int]]) -> int:
    """Returns how many tokens all prompts begin with, if it is worth to run them apart; the last token of a prompt is
    its own."""
    if len(prompts) < 2:
        return 0
    most = min(map(len, prompts)) - 1
    # What the first and the last in the order of dictionaries have in common all between them have.
    first, last = min(prompts), max(prompts)
    shared = next((i for i in range(most) if first[i] != last[i]), most)
    return shared if shared * (len(prompts) - 1) >= WORTH else 0


def opening_of(batch: Batch) -> int:
    """Returns the same of a batch."""
    return opening(_rows(batch.prompt_ids, batch.prompt_mask))


def lay_out(batch: Batch) -> Layout:
    """Returns the flat layout of a batch on the CPU or on its device."""
    prompts = _rows(batch.prompt_ids, batch.prompt_mask)
    completions = [row[:-1] for row in _rows(batch.completion_ids, batch.attention)]
    members: dict[int, list[int]] = {}
    for row, owner in enumerate(integers(batch.group)):
        members.setdefault(owner, []).append(row)
    length = {k: len(prompts[k]) + (len(completions[rows[0]]) if len(rows) == 1 else 0) for k, rows in members.items()}
    members = {k: members[k] for k in sorted(members, key=length.__getitem__)}  # those of like length are bundled
    common = opening([prompts[k] for k in members])
    ids = prompts[next(iter(members))][:common] if members else []
    positions = list(range(common))
    roots: list[slice] = []
    before = [0] * len(completions)  # flat index of the state before a completion's first token
    begin = [0] * len(completions)  # flat index of its first token
    for owner, rows in members.items():
        begun = len(ids)
        ids += prompts[owner][common:]
        for row in rows:
            before[row] = len(ids) - 1
            begin[row] = len(ids)
        if len(rows) == 1:
            ids += completions[rows[0]]
        positions += range(common, common + len(ids) - begun)
        roots.append(slice(begun, len(ids)))
    start = len(ids)
    path = _path(common)
    branches: list[tuple[Path, int]] = []  # the path and the length of each
    for root, (owner, rows) in zip(roots, members.items(), strict=True):
        for row in sorted(rows, key=lambda row: len(completions[row])) if len(rows) > 1 else []:
            begin[row] = len(ids)
            ids += completions[row]
            positions += range(len(prompts[owner]), len(prompts[owner]) + len(completions[row]))
            branches.append(((*path, root), len(completions[row])))
    device = batch.group.device
    return Layout(
        ids=torch.tensor(ids, device=device),
        positions=torch.tensor(positions, device=device),
        roots=_roots(common, [root.stop - root.start for root in roots], device),
        branches=_bundled(start, branches, device),
        outputs=_outputs(batch.mask, before, begin),
    )


def lay_out_prompts(prompts: list[list[int]], device: torch.device) -> tuple[Layout, Tensor, Tensor]:
    """Returns the layout of K prompts alone, whose outputs are their last states; where each one's tokens stand in it,
    [K, P], padding pointing at some token; and which of those are tokens [K, P]. The latter two are on the CPU."""
    common = opening(prompts)
    size = torch.tensor([len(p) - common for p in prompts])
    ends = common + size.cumsum(0)
    offset = torch.arange(int(size.max()))
    own = (ends - size)[:, None] + torch.minimum(offset, size[:, None] - 1)
    shared = torch.arange(common).expand(len(prompts), -1)
    ids = prompts[0][:common] + [i for p in prompts for i in p[common:]]
    positions = torch.cat([torch.arange(common), *(torch.arange(common, len(p)) for p in prompts)])
    layout = Layout(
        ids=torch.tensor(ids, device=device),
        positions=positions.to(device),
        roots=_roots(common, size.tolist(), device),
        branches=[],
        outputs=(ends - 1).to(device),
    )
    return layout, torch.cat([shared, own], 1), torch.arange(common + len(offset)) < common + size[:, None]


def _path(common: int) -> Path:
    return (slice(0, common),) if common else ()


def _roots(common: int, lengths: list[int], device: torch.device) -> list[Bundle]:
    """Returns an opening of `common` tokens and the sequences that go on from it."""
    path = _path(common)
    return [*_bundled(0, [((), common)], device), *_bundled(common, [(path, length) for length in lengths], device)]


def _bundled(start: int, sequences: list[tuple[Path, int]], device: torch.device) -> list[Bundle]:
    """Returns sequences, each its path and its length, in bundles of one path and of like length, from flat index
    `start` on; empty ones are in none."""
    bundles: list[list[tuple[Path, int]]] = []
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


def _bundle(start: int, sequences: list[tuple[Path, int]], device: torch.device) -> Bundle:
    lengths = [length for _, length in sequences]
    path, span, width = sequences[0][0], slice(start, start + sum(lengths)), max(lengths)
    if min(lengths) == width:
        return Bundle(path, span, len(lengths), width)
    size = torch.tensor(lengths)[:, None]
    begin = start + size.cumsum(0) - size
    offset = torch.arange(width)[None]
    take = (begin + torch.minimum(offset, size - 1)).flatten()  # padding reads the sequence's last token
    real = (offset < size).flatten().nonzero()[:, 0]
    return Bundle(path, span, len(lengths), width, take.to(device), real.to(device))


def _outputs(mask: Tensor, before: list[int], begin: list[int]) -> Tensor:
    first = torch.tensor(before, device=mask.device)
    rest = torch.tensor(begin, device=mask.device) - 1
    row, t = mask.nonzero(as_tuple=True)
    return torch.where(t == 0, first[row], rest[row] + t)


def _rows(ids: Tensor, mask: Tensor) -> list[list[int]]:
    return [integers(row[here]) for row, here in zip(ids, mask, strict=True)]

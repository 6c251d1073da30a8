"""Causal attention over a flat layout, forward and backward, with the heads of a key-value group folded together.

A sequence attends to itself and to what it goes on from, whose keys and values are laid before those of each sequence
of a bundle. Nothing but queries, keys and values is kept for backward, which finds the probabilities again. Products
are of the model's dtype, the softmax is float32 for half precisions. Models whose keys have a bias can have scores in
the hundreds, too large to be rounded to a half precision: for them the scores are float32 products too
(`Heads.precise`).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from rlft.models.native.layout import Bundle, Layout

BLOCK = 64  # tokens whose queries are taken together, so that most of the keys after them are never touched


@dataclass(frozen=True)
class Heads:
    """How a row of joined queries, keys and values divides: `groups` key-value heads, each with `fold` query heads of
    `size` numbers. `precise` takes the scores in float32."""

    groups: int
    fold: int
    size: int
    precise: bool = False

    @property
    def queries(self) -> int:
        """Numbers of all query heads."""
        return self.groups * self.fold * self.size

    @property
    def keys(self) -> int:
        """Numbers of all key heads."""
        return self.groups * self.size


def attend(qkv: Tensor, heads: Heads, layout: Layout) -> Tensor:
    """Returns the attended values [N, queries] of joined queries, keys and values [N, queries + 2 keys]."""
    context = qkv.new_empty(qkv.shape[0], heads.queries)
    for bundle in layout.bundles:
        q, k, v = _parts(qkv, heads, bundle)
        out, scaled = torch.empty_like(q), _scaled(k, heads)
        for rows, seen, mask in _blocks(bundle, heads, q):
            p = _probabilities(q[:, rows], scaled[:, seen], mask)
            out[:, rows] = torch.bmm(p.to(v.dtype), v[:, seen])
        _put(context, out, heads, bundle)
    return context


def attend_backward(d_context: Tensor, qkv: Tensor, heads: Heads, layout: Layout) -> Tensor:
    """Returns the gradient of joined queries, keys and values [N, queries + 2 keys]. With p the probabilities and s the
    scores: dv = pᵀ·do, dp = do·vᵀ, ds = p·(dp - Σ dp·p), dq = ds·k, dk = dsᵀ·q."""
    d_qkv = torch.empty_like(qkv)
    columns = d_qkv.split([heads.queries, heads.keys, heads.keys], 1)
    paths = [span for bundle in layout.bundles for span in bundle.path]
    # What sequences, and blocks of one, send back to the same keys adds up here: half precisions would round each sum.
    wide = torch.promote_types(qkv.dtype, torch.float32)
    of_paths = qkv.new_zeros(2, heads.groups, max((span.stop for span in paths), default=0), heads.size, dtype=wide)
    for bundle in layout.bundles:
        q, k, v = _parts(qkv, heads, bundle)
        d_out = _apart(_padded(d_context, bundle), heads, bundle.count)
        dq, scaled = torch.empty_like(q), _scaled(k, heads)
        dk, dv = (torch.zeros_like(x, dtype=wide) for x in (k, v))
        for rows, seen, mask in _blocks(bundle, heads, q):
            p = _probabilities(q[:, rows], scaled[:, seen], mask)
            dp = torch.bmm(d_out[:, rows], v[:, seen].transpose(1, 2)).to(p.dtype)
            ds = torch.ops.aten._softmax_backward_data(dp, p, -1, p.dtype).to(q.dtype)
            dq[:, rows] = torch.bmm(ds, k[:, seen])
            dk[:, seen] += torch.bmm(ds.transpose(1, 2), q[:, rows])
            dv[:, seen] += torch.bmm(p.to(v.dtype).transpose(1, 2), d_out[:, rows])
        for grad in (dq, dk):
            grad.mul_(heads.size**-0.5)
        before = bundle.before
        for column, grad in zip(columns, (dq, dk[:, before:], dv[:, before:]), strict=True):
            _put(column, grad, heads, bundle)
        for total, grad in zip(of_paths, (dk, dv), strict=True):
            begun = 0
            for span in bundle.path:
                stop = begun + span.stop - span.start
                total[:, span] += grad[:, begun:stop].unflatten(0, (heads.groups, -1)).sum(1)
                begun = stop
    for column, total in zip(columns[1:], of_paths, strict=True):
        column[: total.shape[1]] += total.transpose(0, 1).flatten(1).to(column.dtype)
    return d_qkv


def _scaled(k: Tensor, heads: Heads) -> Tensor:
    """Returns keys that the scores come out scaled of; wide for precise heads, or they would be rounded once more."""
    return (k.to(torch.promote_types(k.dtype, torch.float32)) if heads.precise else k) * heads.size**-0.5


def _probabilities(q: Tensor, scaled: Tensor, mask: Tensor) -> Tensor:
    """Returns the probabilities of a block of queries over the keys before them and among their own, wide."""
    scores = torch.bmm(q.to(scaled.dtype), scaled.transpose(1, 2)).to(mask.dtype)
    scores[:, :, -mask.shape[1] :] += mask
    return torch.softmax(scores, -1)


def _blocks(bundle: Bundle, heads: Heads, like: Tensor) -> list[tuple[slice, slice, Tensor]]:
    """Returns for each block of queries its rows, the keys it sees, and the mask of those that are as late as it is."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    found: list[tuple[slice, slice, Tensor]] = []
    for start in range(0, bundle.width, BLOCK):
        stop = min(start + BLOCK, bundle.width)
        mask = _mask(stop - start, heads.fold, dtype, like.device)
        found.append((slice(start * heads.fold, stop * heads.fold), slice(0, bundle.before + stop), mask))
    return found


@lru_cache(maxsize=1024)
def _mask(length: int, fold: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Returns [length·fold, length]: -inf where a key comes after the query."""
    mask = torch.full((length, length), -math.inf, dtype=dtype, device=device).triu_(1)
    return mask.repeat_interleave(fold, 0)


def _parts(qkv: Tensor, heads: Heads, bundle: Bundle) -> tuple[Tensor, Tensor, Tensor]:
    """Returns q [groups·B, T·fold, size], and k and v [groups·B, P + T, size] with those of the path in front."""
    rows = qkv[bundle.span] if bundle.take is None else qkv.index_select(0, bundle.take)
    columns = [heads.queries, heads.keys, heads.keys]
    q, *own = (_apart(part, heads, bundle.count) for part in rows.split(columns, 1))
    if bundle.before:
        path = torch.cat([qkv[span, heads.queries :] for span in bundle.path])
        shared = (_apart(part, heads, 1) for part in path.split(columns[1:], 1))
        own = [_behind(before, part, bundle.count) for before, part in zip(shared, own, strict=True)]
    k, v = own
    return q, k, v


def _behind(before: Tensor, own: Tensor, count: int) -> Tensor:
    """Returns [groups·B, P + T, size] of a path's [groups, P, size] and its sequences' [groups·B, T, size]."""
    return torch.cat([before.repeat_interleave(count, 0), own], 1)


def _padded(rows: Tensor, bundle: Bundle) -> Tensor:
    """Returns a bundle's rows [B·T, n], zeros where it has padding: nothing is passed back from there."""
    if bundle.real is None:
        return rows[bundle.span]
    padded = rows.new_zeros(bundle.count * bundle.width, rows.shape[1])
    padded[bundle.real] = rows[bundle.span]
    return padded


def _apart(rows: Tensor, heads: Heads, count: int) -> Tensor:
    """Returns [B·T, groups·n·size] as [groups·B, T·n, size]; n is `fold` for queries and 1 for keys."""
    parts = rows.reshape(count, -1, heads.groups, rows.shape[1] // heads.keys, heads.size)
    return parts.permute(2, 0, 1, 3, 4).reshape(heads.groups * count, -1, heads.size)


def _put(rows: Tensor, x: Tensor, heads: Heads, bundle: Bundle) -> None:
    """Writes [groups·B, T·n, size] to a bundle's tokens among rows [N, groups·n·size], the inverse of `_apart`."""
    parts = x.view(heads.groups, bundle.count, bundle.width, -1, heads.size).permute(1, 2, 0, 3, 4)
    if bundle.real is None:
        rows[bundle.span].view(parts.shape).copy_(parts)
    else:
        rows[bundle.span] = parts.reshape(-1, rows.shape[1])[bundle.real].to(rows.dtype)

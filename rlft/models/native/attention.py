"""Causal attention over a flat layout, forward and backward, with the heads of a key-value group folded together.

A root attends to itself. The branches of a prompt attend to the prompt, whose keys stand once for all of them, and each
to itself: both scores go into one softmax. Nothing but queries, keys and values is kept for backward, which finds the
probabilities again. Products are of the model's dtype, the softmax is float32 for half precisions. Models whose keys
have a bias can have scores in the hundreds, too large to be rounded to a half precision: for them the scores are
float32 products too (`Heads.precise`).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from rlft.models.native.layout import Layout

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


@dataclass
class Past:
    """The keys and values [groups, P, size] of the prompt that branches share."""

    k: Tensor
    v: Tensor


def attend(qkv: Tensor, heads: Heads, layout: Layout) -> Tensor:
    """Returns the attended values [N, queries] of joined queries, keys and values [N, queries + 2 keys]."""
    context = qkv.new_empty(qkv.shape[0], heads.queries)
    for span in layout.roots:
        context[span] = _rows(_causal(*_split(qkv[span], heads, 1), None, heads), heads, 1, heads.fold)
    for bundle in layout.branches:
        parts = _split(qkv.index_select(0, bundle.take), heads, bundle.count)
        out = _causal(*parts, _past(qkv[bundle.prompt], heads), heads)
        context[bundle.span] = _rows(out, heads, bundle.count, heads.fold)[bundle.real]
    return context


def attend_backward(d_context: Tensor, qkv: Tensor, heads: Heads, layout: Layout) -> Tensor:
    """Returns the gradient of joined queries, keys and values [N, queries + 2 keys]."""
    d_qkv = torch.empty_like(qkv)
    for span in layout.roots:
        d_out = _apart(d_context[span], heads, 1)
        parts, _ = _causal_backward(d_out, *_split(qkv[span], heads, 1), None, heads)
        d_qkv[span] = _whole(parts, heads, 1)
    for bundle in layout.branches:
        d_rows = d_context.new_zeros(bundle.count * bundle.width, heads.queries)
        d_rows[bundle.real] = d_context[bundle.span]  # padding passes nothing back
        q, k, v = _split(qkv.index_select(0, bundle.take), heads, bundle.count)
        past = _past(qkv[bundle.prompt], heads)
        parts, d_past = _causal_backward(_apart(d_rows, heads, bundle.count), q, k, v, past, heads)
        d_qkv[bundle.span] = _whole(parts, heads, bundle.count)[bundle.real]
        assert d_past is not None
        d_qkv[bundle.prompt, heads.queries :] += torch.cat([_rows(x, heads, 1) for x in (d_past.k, d_past.v)], 1)
    return d_qkv


def _causal(q: Tensor, k: Tensor, v: Tensor, past: Past | None, heads: Heads) -> Tensor:
    """Returns the attended values [n, L·fold, size] of queries [n, L·fold, size] over keys [n, L, size] up to their own
    and over the past; n is a multiple of the heads' groups."""
    k = k * heads.size**-0.5
    before = _scores_of_past(q, past, heads)
    p_past = None if before is None else torch.empty_like(before, dtype=q.dtype)
    out = torch.empty_like(q)
    for rows, seen, mask in _blocks(k.shape[1], heads.fold, q):
        p = torch.softmax(_scores(q[:, rows], k[:, seen], mask, before, rows, heads), -1)
        width = p.shape[-1] - seen.stop
        out[:, rows] = torch.bmm(p[:, :, width:].to(v.dtype), v[:, seen])
        if p_past is not None:
            p_past[:, rows] = p[:, :, :width]
    if past is not None and p_past is not None:
        out += torch.bmm(_grouped(p_past, heads), past.v).view(out.shape)
    return out


def _causal_backward(
    d_out: Tensor, q: Tensor, k: Tensor, v: Tensor, past: Past | None, heads: Heads
) -> tuple[tuple[Tensor, Tensor, Tensor], Past | None]:
    """Returns the gradients of q, k, v, and of the past. With p the probabilities and s the scores: dv = pᵀ·do,
    dp = do·vᵀ, ds = p·(dp - Σ dp·p), dq = ds·k, dk = dsᵀ·q."""
    scale = heads.size**-0.5
    scaled = k * scale
    before = _scores_of_past(q, past, heads)
    dp_past = None if past is None else torch.bmm(_grouped(d_out, heads), past.v.transpose(1, 2)).view(*q.shape[:2], -1)
    p_past, ds_past = (None if dp_past is None else torch.empty_like(dp_past) for _ in range(2))
    dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for rows, seen, mask in _blocks(k.shape[1], heads.fold, q):
        p = torch.softmax(_scores(q[:, rows], scaled[:, seen], mask, before, rows, heads), -1)
        width = p.shape[-1] - seen.stop
        dp = torch.empty_like(p)
        dp[:, :, width:] = torch.bmm(d_out[:, rows], v[:, seen].transpose(1, 2))
        if dp_past is not None:
            dp[:, :, :width] = dp_past[:, rows]
        ds = torch.ops.aten._softmax_backward_data(dp, p, -1, p.dtype)
        own = ds[:, :, width:].to(q.dtype)
        dq[:, rows] = torch.bmm(own, scaled[:, seen])
        dk[:, seen] += torch.bmm(own.transpose(1, 2), q[:, rows])
        dv[:, seen] += torch.bmm(p[:, :, width:].to(v.dtype).transpose(1, 2), d_out[:, rows])
        if p_past is not None and ds_past is not None:
            p_past[:, rows], ds_past[:, rows] = p[:, :, :width], ds[:, :, :width]
    if past is None or p_past is None or ds_past is None:
        return (dq, dk.mul_(scale), dv), None
    p_past, ds_past = _grouped(p_past, heads), _grouped(ds_past, heads)
    dq += torch.bmm(ds_past, past.k * scale).view(dq.shape)
    d_past_k = torch.bmm(ds_past.transpose(1, 2), _grouped(q, heads)).mul_(scale)
    d_past_v = torch.bmm(p_past.transpose(1, 2), _grouped(d_out, heads))
    return (dq, dk.mul_(scale), dv), Past(d_past_k, d_past_v)


def _scores(q: Tensor, k: Tensor, mask: Tensor, before: Tensor | None, rows: slice, heads: Heads) -> Tensor:
    """Returns the scores of a block of queries, wide: over the past, then over the keys it sees, with their mask."""
    q, k = (_widen(q), _widen(k)) if heads.precise else (q, k)
    width = 0 if before is None else before.shape[-1]
    scores = mask.new_empty(*q.shape[:2], width + k.shape[1])
    torch.add(torch.bmm(q, k.transpose(1, 2)), mask, out=scores[:, :, width:])
    if before is not None:
        scores[:, :, :width] = before[:, rows]
    return scores


def _scores_of_past(q: Tensor, past: Past | None, heads: Heads) -> Tensor | None:
    """Returns the scores of all queries over the past [n, L·fold, P]."""
    if past is None:
        return None
    queries, keys = _grouped(q, heads), past.k * heads.size**-0.5
    queries, keys = (_widen(queries), _widen(keys)) if heads.precise else (queries, keys)
    return torch.bmm(queries, keys.transpose(1, 2)).view(*q.shape[:2], -1)


@lru_cache(maxsize=1024)
def _mask(start: int, stop: int, fold: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Returns [(stop - start)·fold, stop] for the queries from start on: -inf where a key comes after the query."""
    mask = torch.full((stop - start, stop), -math.inf, dtype=dtype, device=device).triu_(start + 1)
    return mask.repeat_interleave(fold, 0)


def _blocks(length: int, fold: int, like: Tensor) -> list[tuple[slice, slice, Tensor]]:
    """Returns for each block of queries its rows, the keys it sees and their mask."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    found: list[tuple[slice, slice, Tensor]] = []
    for start in range(0, length, BLOCK):
        stop = min(start + BLOCK, length)
        mask = _mask(start, stop, fold, dtype, like.device)
        found.append((slice(start * fold, stop * fold), slice(0, stop), mask))
    return found


def _widen(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _grouped(x: Tensor, heads: Heads) -> Tensor:
    """Returns [groups·B, M, n] as [groups, B·M, n]: the queries of all branches of a prompt together."""
    return x.view(heads.groups, -1, x.shape[-1])


def _split(rows: Tensor, heads: Heads, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns q [groups·B, T·fold, size] and k, v [groups·B, T, size] of B·T rows."""
    q, k, v = rows.split([heads.queries, heads.keys, heads.keys], 1)
    return _apart(q, heads, count), _apart(k, heads, count), _apart(v, heads, count)


def _past(prompt: Tensor, heads: Heads) -> Past:
    _, k, v = _split(prompt, heads, 1)
    return Past(k, v)


def _apart(rows: Tensor, heads: Heads, count: int) -> Tensor:
    """Returns [B·T, groups·n·size] as [groups·B, T·n, size]; n is `fold` for queries and 1 for keys."""
    parts = rows.reshape(count, -1, heads.groups, rows.shape[1] // heads.keys, heads.size)
    return parts.permute(2, 0, 1, 3, 4).reshape(heads.groups * count, -1, heads.size)


def _rows(x: Tensor, heads: Heads, count: int, n: int = 1) -> Tensor:
    """Returns [groups·B, T·n, size] as [B·T, groups·n·size], the inverse of `_apart`."""
    parts = x.reshape(heads.groups, count, -1, n, heads.size)
    return parts.permute(1, 2, 0, 3, 4).reshape(-1, heads.groups * n * heads.size)


def _whole(parts: tuple[Tensor, Tensor, Tensor], heads: Heads, count: int) -> Tensor:
    """Returns what `_split` took apart."""
    q, k, v = parts
    return torch.cat([_rows(q, heads, count, heads.fold), _rows(k, heads, count), _rows(v, heads, count)], 1)

"""One decoder block over flat tokens, with its backward written out: products, norms, rotation, gated activation.

Only the block's input, the rotated queries, keys and values, the attended values, the state between the two halves and
the gated products are kept; norms and activations are computed again in backward, where they are cheap. With
`recompute` the input alone is kept.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from rlft.models.native.attention import Heads, attend, attend_backward
from rlft.models.native.layout import Layout
from rlft.models.native.weights import Layer


@dataclass(frozen=True)
class Setting:
    """What all blocks of one pass share.

    Attributes:
        layout: of the N tokens. heads: of the attention. cos, sin: [N, 1, size / 2], wide.
        recompute: keep nothing but each block's input, and run it again in backward.
    """

    layout: Layout
    heads: Heads
    cos: Tensor
    sin: Tensor
    recompute: bool = False


@dataclass
class Kept:
    """What backward needs: `raw` are queries and keys before their own norms, where the model has them."""

    qkv: Tensor
    raw: Tensor | None
    context: Tensor
    middle: Tensor
    gated: Tensor


def forward(h: Tensor, layer: Layer, setting: Setting) -> tuple[Tensor, Kept]:
    """Returns the block's output [N, D] and what its backward needs."""
    qkv, raw = project(h, layer, setting.heads, setting.cos, setting.sin)
    context = attend(qkv, setting.heads, setting.layout)
    middle = layer.out(context, h)
    out, gated = feed_forward(middle, layer)
    return out, Kept(qkv, raw, context, middle, gated)


def project(h: Tensor, layer: Layer, heads: Heads, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor | None]:
    """Returns rotated queries, keys and values [N, queries + 2 keys], and queries and keys before their own norms."""
    qkv = layer.qkv(rms_norm(h, layer.norm1, layer.eps))
    raw = None
    if layer.q_norm is not None:
        raw = qkv[:, : heads.queries + heads.keys].clone()
        _head_norms(qkv, layer, heads)
    rotate(qkv, heads, cos, sin)
    return qkv, raw


def feed_forward(middle: Tensor, layer: Layer) -> tuple[Tensor, Tensor]:
    """Returns the block's output [N, D] from the state between its halves, and the gate and up products [N, 2F]."""
    gated = layer.gate_up(rms_norm(middle, layer.norm2, layer.eps))
    return layer.down(activate(gated), middle), gated


def backward(
    d_out: Tensor, h: Tensor, layer: Layer, setting: Setting, kept: Kept, wants_input: bool
) -> tuple[Tensor | None, list[Tensor]]:
    """Returns the gradient of the block's input, if wanted, and those of the adapters' factors."""
    d_act, of_down = layer.down.backward(d_out, activate(kept.gated))
    assert d_act is not None
    normed = rms_norm(kept.middle, layer.norm2, layer.eps)
    d_normed, of_gate_up = layer.gate_up.backward(_activate_backward(d_act, kept.gated), normed)
    assert d_normed is not None
    d_middle = _rms_backward(d_normed, kept.middle, layer.norm2, layer.eps).add_(d_out)
    d_context, of_out = layer.out.backward(d_middle, kept.context)
    assert d_context is not None
    heads = setting.heads
    d_qkv = attend_backward(d_context, kept.qkv, heads, setting.layout)
    rotate(d_qkv, heads, setting.cos, -setting.sin)
    if kept.raw is not None:
        _head_norms_backward(d_qkv, kept.raw, layer, heads)
    d_first, of_qkv = layer.qkv.backward(d_qkv, rms_norm(h, layer.norm1, layer.eps), wants_input)
    d_input = None
    if d_first is not None:
        d_input = _rms_backward(d_first, h, layer.norm1, layer.eps).add_(d_middle)
    return d_input, [*of_qkv, *of_out, *of_gate_up, *of_down]


class Block(torch.autograd.Function):
    """`forward` and `backward` as one node of autograd's graph, with an input for each adapter factor."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, layer: Layer, setting: Setting, *_: Tensor) -> Tensor:
        """Returns the block's output [N, D]."""
        out, kept = forward(h, layer, setting)
        ctx.layer, ctx.setting = layer, setting
        ctx.kept = None if setting.recompute else kept
        ctx.save_for_backward(h)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns a gradient for each argument of forward."""
        (h,) = ctx.saved_tensors
        kept = ctx.kept if ctx.kept is not None else forward(h, ctx.layer, ctx.setting)[1]
        d_input, grads = backward(d_out, h, ctx.layer, ctx.setting, kept, ctx.needs_input_grad[0])
        ctx.kept = None  # memory goes back block by block
        return d_input, None, None, *grads


def rms_norm(x: Tensor, scale: Tensor, eps: float) -> Tensor:
    """Returns x / sqrt(mean x² + eps) · scale over the last dimension; the mean is float32 for half precisions."""
    unit, _ = _unit(x, eps)
    return unit.to(x.dtype).mul_(scale)


def _unit(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Returns x / sqrt(mean x² + eps), wide, and the factor [..., 1]."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32), copy=True)
    length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    factor = torch.addcmul(wide.new_tensor(eps), length, length, value=1 / x.shape[-1]).rsqrt_()
    return wide.mul_(factor), factor


def _rms_backward(grad: Tensor, x: Tensor, scale: Tensor, eps: float) -> Tensor:
    """With u = x·f the gradient is f · (g - u · mean(g · u)), g = grad · scale."""
    unit, factor = _unit(x, eps)
    wide = grad * scale.to(unit.dtype)
    along = (wide * unit).mean(-1, keepdim=True)
    return wide.addcmul_(unit, along, value=-1).mul_(factor).to(x.dtype)


def activate(gated: Tensor) -> Tensor:
    """Returns silu(gate) · up of [N, 2F]."""
    gate, up = gated.chunk(2, 1)
    return functional.silu(gate).mul_(up)


def _activate_backward(grad: Tensor, gated: Tensor) -> Tensor:
    gate, up = gated.chunk(2, 1)
    out = torch.empty_like(gated)
    d_gate, d_up = out.chunk(2, 1)
    torch.mul(grad, functional.silu(gate), out=d_up)
    torch.ops.aten.silu_backward(grad * up, gate, grad_input=d_gate)
    return out


def rotate(qkv: Tensor, heads: Heads, cos: Tensor, sin: Tensor) -> None:
    """Rotates the queries and keys of [N, queries + 2 keys] in place by their positions (arXiv 2104.09864, eq. 34)."""
    parts = qkv[:, : heads.queries + heads.keys].unflatten(1, (-1, heads.size))
    wide = parts.to(cos.dtype, copy=True)
    first, second = wide.chunk(2, 2)
    turned = (first * cos).addcmul_(second, sin, value=-1)
    second.mul_(cos).addcmul_(first, sin)
    first.copy_(turned)
    parts.copy_(wide)


def _head_norms(qkv: Tensor, layer: Layer, heads: Heads) -> None:
    for part, scale in _headwise(qkv, layer, heads):
        part.copy_(rms_norm(part, scale, layer.head_eps))


def _head_norms_backward(d_qkv: Tensor, raw: Tensor, layer: Layer, heads: Heads) -> None:
    for (grad, scale), (part, _) in zip(_headwise(d_qkv, layer, heads), _headwise(raw, layer, heads), strict=True):
        grad.copy_(_rms_backward(grad, part, scale, layer.head_eps))


def _headwise(qkv: Tensor, layer: Layer, heads: Heads) -> list[tuple[Tensor, Tensor]]:
    assert layer.q_norm is not None and layer.k_norm is not None
    q, k = qkv[:, : heads.queries + heads.keys].split([heads.queries, heads.keys], 1)
    return [(part.unflatten(1, (-1, heads.size)), scale) for part, scale in ((q, layer.q_norm), (k, layer.k_norm))]

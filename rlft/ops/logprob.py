"""log π of given tokens straight from hidden states: the [N, V] logits are never held whole."""

from typing import Any, Literal, cast, overload

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

Row = Float[Tensor, " N"]
BLOCK = 3 * 2**19  # float32 numbers worked on at once: two such buffers fit the cache of a small machine


@overload
def linear_logp(
    hidden: Float[Tensor, "N D"],
    weight: Float[Tensor, "V D"],
    target: Int[Tensor, " N"],
    chunk: int = ...,
    *,
    bias: Float[Tensor, " V"] | None = ...,
    temperature: float = ...,
    return_entropy: Literal[False] = ...,
) -> Row: ...


@overload
def linear_logp(
    hidden: Float[Tensor, "N D"],
    weight: Float[Tensor, "V D"],
    target: Int[Tensor, " N"],
    chunk: int = ...,
    *,
    bias: Float[Tensor, " V"] | None = ...,
    temperature: float = ...,
    return_entropy: Literal[True],
) -> tuple[Row, Row]: ...


def linear_logp(
    hidden: Float[Tensor, "N D"],
    weight: Float[Tensor, "V D"],
    target: Int[Tensor, " N"],
    chunk: int = 128,
    *,
    bias: Float[Tensor, " V"] | None = None,
    temperature: float = 1.0,
    return_entropy: bool = False,
) -> Row | tuple[Row, Row]:
    """Returns log softmax((hidden · weightᵀ + bias) / temperature)[n, target[n]] for every row n.

    Works on `chunk` rows at a time. With ℓ = log softmax and p = exp ℓ,
    ∂ℓ_target/∂hidden = (weight[target] - p · weight) / temperature is found while p is at hand, so that backward is a
    product with the incoming gradient. Only a head that is itself trained has p computed again, in backward.
    The gradient in hidden, weight and bias is exact; the softmax is float32 for bfloat16 and float16, native otherwise.

    Args:
        hidden: [N, D], the last hidden state at the position before each target token.
        weight: [V, D], the language-model head, of hidden's dtype. No gradient is computed for it if it is frozen.
        target: [N], token ids.
        chunk: rows whose logits are held at once (chunk · V numbers).
        bias: [V] or None.
        temperature: what logits are divided by.
        return_entropy: also return the entropy of each row's distribution, without gradient.

    Returns:
        log-probabilities [N], nats, float32 or float64; with `return_entropy` the entropies [N], nats, beside them.

    >>> logits = torch.tensor([[0.0, 1.0, 2.0]], dtype=torch.float64).log1p()  # p = 1/6, 2/6, 3/6
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> bool(torch.isclose(linear_logp(one, logits.T, torch.tensor([2])).exp(), one[0] / 2))
    True
    """
    differentiable = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (hidden, weight, bias))
    if differentiable:
        logp, entropy = cast(
            "tuple[Tensor, Tensor | None]",
            _LinearLogp.apply(  # pyright: ignore[reportUnknownMemberType]
                hidden, weight, target, chunk, bias, temperature, return_entropy
            ),
        )
    else:
        logp, entropy, _ = _forward(hidden, weight, target, chunk, bias, temperature, return_entropy, False)
    return logp if entropy is None else (logp, entropy)


def _spans(rows: int, chunk: int) -> list[slice]:
    return [slice(start, min(start + chunk, rows)) for start in range(0, rows, chunk)]


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
    """Writes the logits of one chunk of rows [n, D] into `out` [n, V]."""
    if bias is None:
        return torch.mm(hidden, weight.T, out=out)
    return torch.addmm(bias, hidden, weight.T, out=out)


def _forward(
    hidden: Tensor,
    weight: Tensor,
    target: Tensor,
    chunk: int,
    bias: Tensor | None,
    temperature: float,
    with_entropy: bool,
    with_direction: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns log π [N], entropy [N] and ∂ log π/∂ hidden [N, D]; the last two if asked for.

    With z = logits - max and e = exp z: log π = z_target - log Σe, entropy = log Σe - Σ z·e / Σe, and the mean of the
    weights under p is e · weight / Σe. All is written into buffers made once, a few rows at a time so that they stay in
    the processor's cache.
    """
    rows, width = min(chunk, len(hidden)), weight.shape[0]
    wide = torch.promote_types(hidden.dtype, torch.float32)
    logp = torch.empty(len(hidden), dtype=wide, device=hidden.device)
    entropy = torch.empty_like(logp) if with_entropy else None
    direction = torch.empty_like(hidden) if with_direction else None
    few = max(1, min(rows, BLOCK // width))
    room = hidden.new_empty(rows, width)
    z, e = (torch.empty(few, width, dtype=wide, device=hidden.device) for _ in range(2))
    total = torch.empty(rows, 1, dtype=wide, device=hidden.device)
    for span in _spans(len(hidden), chunk):
        logits = _logits(hidden[span], weight, bias, room[: span.stop - span.start])
        for part in _spans(len(logits), few):
            size = part.stop - part.start
            at = slice(span.start + part.start, span.start + part.stop)
            z[:size] = logits[part]
            if temperature != 1.0:
                z[:size] /= temperature
            z[:size] -= z[:size].amax(1, keepdim=True)
            chosen = z[:size].gather(1, target[at, None])[:, 0]
            total[part] = torch.exp(z[:size], out=e[:size]).sum(1, keepdim=True)
            log_total = total[part, 0].log()
            logp[at] = chosen - log_total
            if direction is not None:
                logits[part] = e[:size]
            if entropy is not None:
                entropy[at] = log_total - z[:size].mul_(e[:size]).sum(1) / total[part, 0]
        if direction is not None:
            mean = (logits @ weight).div_(total[: len(logits)])
            direction[span] = (weight[target[span]] - mean) / temperature
    return logp, entropy, direction


class _LinearLogp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        target: Tensor,
        chunk: int,
        bias: Tensor | None,
        temperature: float,
        return_entropy: bool,
    ) -> tuple[Tensor, Tensor | None]:
        needs_hidden, needs_weight, needs_bias = (ctx.needs_input_grad[i] for i in (0, 1, 4))
        logp, entropy, direction = _forward(
            hidden, weight, target, chunk, bias, temperature, return_entropy, needs_hidden
        )
        ctx.settings = (chunk, temperature)
        again = (hidden, weight, target, bias) if needs_weight or needs_bias else (None, None, None, None)
        ctx.save_for_backward(direction, *again)
        if entropy is not None:
            ctx.mark_non_differentiable(entropy)
        return logp, entropy

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, grad: Tensor, *_: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        direction, hidden, weight, target, bias = ctx.saved_tensors
        d_hidden = None if direction is None else (direction * grad[:, None]).to(direction.dtype)
        d_weight, d_bias = None, None
        if hidden is not None:
            d_weight, d_bias = _head_gradient(grad, hidden, weight, target, bias, *ctx.settings)
        return (
            d_hidden,
            d_weight if ctx.needs_input_grad[1] else None,
            None,
            None,
            d_bias if ctx.needs_input_grad[4] else None,
            None,
            None,
        )


def _head_gradient(
    grad: Tensor, hidden: Tensor, weight: Tensor, target: Tensor, bias: Tensor | None, chunk: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of weight [V, D] and bias [V]: Σ_n grad[n] (1[target] - p) hidden[n] / temperature."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    d_weight = torch.zeros(weight.shape, dtype=wide, device=weight.device)
    d_bias = torch.zeros(len(weight), dtype=wide, device=weight.device)
    for span in _spans(len(hidden), chunk):
        logits = functional.linear(hidden[span], weight, bias).to(wide) / temperature
        d_logits = torch.softmax(logits, -1).neg_()
        d_logits.scatter_add_(1, target[span, None], torch.ones_like(grad[span, None]))
        d_logits.mul_(grad[span, None] / temperature)
        d_weight += (d_logits.to(hidden.dtype).T @ hidden[span]).to(wide)
        d_bias += d_logits.sum(0)
    return d_weight.to(weight.dtype), d_bias.to(weight.dtype)

"""log π of given tokens straight from hidden states: the [N, V] logits are never held whole."""

from typing import Any, Literal, cast, overload

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

Row = Float[Tensor, " N"]


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


def _log_softmax(hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: float) -> Tensor:
    """Returns log softmax [n, V] of one chunk of rows."""
    logits = functional.linear(hidden, weight, bias)
    wide = torch.promote_types(logits.dtype, torch.float32)
    if temperature != 1.0:
        logits = logits.to(wide) / temperature
    return torch.log_softmax(logits, -1, dtype=wide)


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
    """Returns log π [N], entropy [N] and ∂ log π/∂ hidden [N, D]; the last two if asked for."""
    logp = torch.empty(len(hidden), dtype=torch.promote_types(hidden.dtype, torch.float32), device=hidden.device)
    entropy = torch.empty_like(logp) if with_entropy else None
    direction = torch.empty_like(hidden) if with_direction else None
    for span in _spans(len(hidden), chunk):
        log_p = _log_softmax(hidden[span], weight, bias, temperature)
        logp[span] = log_p.gather(1, target[span, None])[:, 0]
        if entropy is not None:
            entropy[span] = -log_p.exp().mul_(log_p).sum(-1)  # pairwise; a dot product loses three digits more
        if direction is not None:
            mean = log_p.exp_().to(weight.dtype) @ weight
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
        d_logits = _log_softmax(hidden[span], weight, bias, temperature).exp_().neg_()
        d_logits.scatter_add_(1, target[span, None], torch.ones_like(grad[span, None]))
        d_logits.mul_(grad[span, None] / temperature)
        d_weight += (d_logits.to(hidden.dtype).T @ hidden[span]).to(wide)
        d_bias += d_logits.sum(0)
    return d_weight.to(weight.dtype), d_bias.to(weight.dtype)

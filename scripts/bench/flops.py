"""What an update must compute, as FLOPs, and the share of the machine's own GEMM rate that it reaches.

    update     = (4·N + 6·A)·tokens + 4·D·V·trained
    reference  =  2·N·tokens        + 2·D·V·trained

N: frozen weights of the linear layers, without embedding and head: 2 operations per weight and token forward, 2 for the
gradient of the activations; they are frozen, so no gradient of their own. A: adapter weights: 2 forward, 2 for the
activations, 2 for their own gradient. D·V: the head, at trained positions alone: 2 forward, 2 for the gradient of the
hidden state. tokens: positions that must go through the layers: each prompt once per query, what all prompts of
a step begin with once, and every completion without its last token, which nothing follows. Attention's own products
(quadratic in the length), norms and activations are left out, so that the share is understated, not overstated.
Padding, a prompt run more than once and recomputed activations are work that need not be done: they count in the
seconds, not in the FLOPs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

FORMULA = (
    "(4·N + 6·A)·tokens + 4·D·V·trained; N: frozen linear weights, A: adapter weights, D·V: the head, "
    "tokens: each prompt once per query, what all begin with once, completions without their last token"
)


@dataclass(frozen=True)
class Shape:
    """A model's numbers. linear: N. adapter: A. width: D. vocabulary: V."""

    linear: int
    adapter: int
    width: int
    vocabulary: int


def update_flops(shape: Shape, tokens: int, trained: int) -> float:
    """Returns the FLOPs of forward and backward over a batch.

    >>> update_flops(Shape(linear=10, adapter=2, width=3, vocabulary=5), tokens=7, trained=4)
    604.0
    """
    return float((4 * shape.linear + 6 * shape.adapter) * tokens + 4 * shape.width * shape.vocabulary * trained)


def reference_flops(shape: Shape, tokens: int, trained: int) -> float:
    """Returns the FLOPs of π_ref's forward pass over a batch.

    >>> reference_flops(Shape(linear=10, adapter=2, width=3, vocabulary=5), tokens=7, trained=4)
    260.0
    """
    return float(2 * shape.linear * tokens + 2 * shape.width * shape.vocabulary * trained)


def share(flops: Sequence[float], seconds: Sequence[float], rate: float) -> float:
    """Returns the median over steps of flops / seconds, as a share of the rate, FLOP/s.

    >>> share([8.0, 6.0, 9.0], [2.0, 3.0, 3.0], rate=10.0)
    0.3
    """
    return median(f / s for f, s in zip(flops, seconds, strict=True)) / rate

"""linear_logp against the plain log-softmax of the whole logits."""

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from rlft.ops.logprob import linear_logp

N, D, V = 11, 5, 17


def inputs(bias: bool, head: bool = True) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    torch.manual_seed(0)
    hidden = torch.randn(N, D, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(V, D, dtype=torch.float64, requires_grad=head)
    offset = torch.randn(V, dtype=torch.float64, requires_grad=head) if bias else None
    return hidden, weight, torch.randint(V, (N,)), offset


def plain(hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: float) -> Tensor:
    logits = hidden @ weight.T + (0 if bias is None else bias)
    return (logits / temperature).log_softmax(-1)


@pytest.mark.parametrize("chunk", [1, 4, 11, 100])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("bias", [False, True])
def test_value_and_every_gradient_equal_the_plain_log_softmax(chunk: int, temperature: float, bias: bool) -> None:
    hidden, weight, target, offset = inputs(bias)
    leaves = [hidden, weight] + ([] if offset is None else [offset])
    incoming = torch.randn(N, dtype=torch.float64)
    expected = plain(hidden, weight, offset, temperature)[torch.arange(N), target]
    actual = linear_logp(hidden, weight, target, chunk, bias=offset, temperature=temperature)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    for got, want in zip(
        torch.autograd.grad(actual, leaves, incoming), torch.autograd.grad(expected, leaves, incoming), strict=True
    ):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_entropy_is_that_of_the_distribution_and_leaves_the_gradient_alone(temperature: float) -> None:
    hidden, weight, target, _ = inputs(bias=False, head=False)
    log_p = plain(hidden, weight, None, temperature)
    logp, entropy = linear_logp(hidden, weight, target, 4, temperature=temperature, return_entropy=True)
    torch.testing.assert_close(entropy, -(log_p.exp() * log_p).sum(-1).detach(), rtol=0, atol=1e-12)
    assert not entropy.requires_grad
    expected = torch.autograd.grad(log_p[torch.arange(N), target].sum(), hidden)[0]
    torch.testing.assert_close(torch.autograd.grad(logp.sum(), hidden)[0], expected, rtol=0, atol=1e-12)


def test_without_gradient_nothing_is_saved_and_the_value_is_the_same() -> None:
    hidden, weight, target, _ = inputs(bias=False)
    with torch.no_grad():
        logp, entropy = linear_logp(hidden, weight, target, 3, return_entropy=True)
    assert logp.grad_fn is None and entropy.grad_fn is None
    torch.testing.assert_close(logp, linear_logp(hidden, weight, target).detach(), rtol=0, atol=1e-12)


def test_a_frozen_head_gets_no_gradient_and_is_not_even_kept() -> None:
    hidden, weight, target, _ = inputs(bias=False, head=False)
    saved: list[tuple[int, ...]] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tuple(tensor.shape))
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        linear_logp(hidden, weight, target).sum().backward()
    assert weight.grad is None
    assert saved == [(N, D)]


def test_a_frozen_trunk_with_a_trained_head() -> None:
    hidden, weight, target, offset = inputs(bias=True)
    hidden = hidden.detach()
    assert offset is not None
    linear_logp(hidden, weight, target, 4, bias=offset).sum().backward()
    expected = torch.autograd.grad(plain(hidden, weight, offset, 1.0)[torch.arange(N), target].sum(), [weight, offset])
    torch.testing.assert_close(weight.grad, expected[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(offset.grad, expected[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_takes_the_softmax_in_float32(dtype: torch.dtype) -> None:
    hidden, weight, target, _ = inputs(bias=False)
    hidden, weight = hidden.detach().to(dtype).requires_grad_(), weight.detach().to(dtype).requires_grad_()
    logp = linear_logp(hidden, weight, target, 4)
    assert logp.dtype == torch.float32
    expected = (hidden @ weight.T).float().log_softmax(-1)[torch.arange(N), target]
    torch.testing.assert_close(logp, expected, rtol=0, atol=1e-6)
    logp.sum().backward()
    exact = inputs(bias=False)
    linear_logp(exact[0], exact[1], target).sum().backward()
    assert hidden.grad is not None and weight.grad is not None and exact[0].grad is not None
    assert hidden.grad.dtype == dtype and weight.grad.dtype == dtype
    torch.testing.assert_close(hidden.grad.double(), exact[0].grad, rtol=0.05, atol=0.05)


def test_no_rows() -> None:
    hidden, weight, _, _ = inputs(bias=False)
    logp = linear_logp(hidden[:0], weight, torch.empty(0, dtype=torch.long))
    logp.sum().backward()
    assert logp.shape == (0,) and hidden.grad is not None and not hidden.grad.any()

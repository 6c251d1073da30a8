"""Gradient checkpointing computes the same log π and gradient, and really runs the layers again."""

from typing import Any

import pytest
import torch
from tiny import direct, random_batch, tiny_model, with_adapter
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from rlft.base import UserError
from rlft.models.native import block
from rlft.models.policy import Policy

BATCH = random_batch()
WEIGHT = torch.randn(BATCH.mask.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def gpt2() -> Any:
    config = GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=64, n_positions=64, bos_token_id=1, eos_token_id=2)
    return tiny_model(GPT2LMHeadModel, config)


def gradient(model: Any, logp: Tensor) -> Tensor:
    model.zero_grad()
    logp.backward(WEIGHT)
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("make", [tiny_model, gpt2])
def test_through_transformers(make: Any) -> None:
    model = make().eval()
    policy = Policy(model, print)
    assert policy.native is None
    policy.checkpoint(True)
    calls: list[bool] = []
    inner = next(m for name, m in policy.decoder.named_modules() if name.endswith("0.mlp"))
    inner.register_forward_pre_hook(lambda module, _: calls.append(module.training))
    logp = policy(BATCH)[0]
    ours = gradient(model, logp)
    assert calls == [False, False], "once forward and once in backward, never in training mode, which has dropout"
    expected = direct(model, BATCH)[0]
    assert (logp - expected).abs().max() < 1e-9
    assert (ours - gradient(model, expected)).abs().max() < 1e-9
    calls.clear()
    with torch.no_grad():
        policy(BATCH)
    assert len(calls) == 2, "prompts and completions apart, with a cache: nothing is checkpointed without gradient"
    assert not any(m.training for m in model.modules())


def test_natively(monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_adapter(tiny_model())
    policy = Policy(model, print)
    policy.checkpoint(True)
    runs: list[int] = []
    plain = block.forward
    monkeypatch.setattr(block, "forward", lambda h, *rest: runs.append(len(h)) or plain(h, *rest))
    logp = policy(BATCH)[0]
    assert len(runs) == 2
    ours = gradient(model, logp)
    assert len(runs) == 4, "each of the two blocks again"
    expected = direct(model, BATCH)[0]
    assert (ours - gradient(model, expected)).abs().max() < 1e-9
    policy.checkpoint(False)
    runs.clear()
    gradient(model, policy(BATCH)[0])
    assert len(runs) == 2


def test_a_model_without_it_is_refused() -> None:
    model = gpt2()
    model.supports_gradient_checkpointing = False
    with pytest.raises(UserError, match=r"trainer\.gradient_checkpointing=off"):
        Policy(model, print).checkpoint(True)

"""KL(π_θ ‖ π_ref) over the whole vocabulary, against logits that transformers computes row by row."""

from typing import Any

import pytest
import torch
from tiny import random_batch, randomise, tiny_model, with_adapter
from torch import Tensor

from rlft.base import Processes
from rlft.models import roles
from rlft.models.load import POLICY
from rlft.models.policy import Policy
from rlft.models.roles import FullKLRole, Reference

BATCH = random_batch()


def logits(model: Any) -> Tensor:
    """Of every completion alone, with its whole prompt: [B, T, V] before each of its tokens."""
    found = torch.zeros(*BATCH.mask.shape, model.config.vocab_size, dtype=torch.float64)
    for row, owner in enumerate(BATCH.group.tolist()):
        prompt = BATCH.prompt_ids[owner][BATCH.prompt_mask[owner]]
        completion = BATCH.completion_ids[row][BATCH.attention[row]]
        out = model(torch.cat([prompt, completion])[None]).logits[0]
        found[row, : len(completion)] = out[len(prompt) - 1 : -1].double()
    return found


@torch.no_grad()
def test_it_is_the_divergence_of_the_two_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roles, "CHUNK_NUMBERS", 1)  # 16 rows at a time
    model = with_adapter(tiny_model())
    policy = Policy(model, print)
    role = FullKLRole(Reference(policy), 64, "completion", Processes())
    randomise(model, POLICY, 0.5, seed=3)
    found = role.annotate(BATCH).kl_full
    assert found is not None and int(BATCH.mask.sum()) > 16
    p = logits(model).log_softmax(-1)
    with model.disable_adapter():
        q = logits(model).log_softmax(-1)
    expected = (p.exp() * (p - q)).sum(-1) * BATCH.mask
    assert expected.max() > 0.01
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)
    assert role.ran(BATCH) is BATCH


@torch.no_grad()
def test_a_head_that_is_trained_is_not_the_reference_s() -> None:
    """All weights are trained, so that the reference is a copy with a head of its own."""
    model = tiny_model()
    policy = Policy(model, print)
    role = FullKLRole(Reference(policy), 64, "completion", Processes())
    q = logits(model).log_softmax(-1)
    draw = torch.Generator().manual_seed(1)
    for p in model.parameters():
        p.add_(0.05 * torch.randn(p.shape, generator=draw, dtype=p.dtype))
    p = logits(model).log_softmax(-1)
    found = role.annotate(BATCH).kl_full
    assert found is not None
    torch.testing.assert_close(found.double(), (p.exp() * (p - q)).sum(-1) * BATCH.mask, rtol=0, atol=1e-5)


@torch.no_grad()
def test_it_is_nought_where_the_run_began() -> None:
    policy = Policy(with_adapter(tiny_model(), scale=0.0), print)
    found = FullKLRole(Reference(policy), 4096, "group", Processes()).annotate(BATCH).kl_full
    assert found is not None and not found.abs().gt(1e-6).any()


def test_no_rows_have_none() -> None:
    policy = Policy(with_adapter(tiny_model()), print)
    none = BATCH.rows(torch.empty(0, dtype=torch.long))
    found = FullKLRole(Reference(policy), 64, "group", Processes()).annotate(none).kl_full
    assert found is not None and found.shape == none.mask.shape

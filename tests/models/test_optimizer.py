"""AdamW over float32 masters."""

import copy
import math

import pytest
import torch
from torch import nn

from rlft.base import Processes
from rlft.models.optimizer import MasterAdamW

BETAS = (0.9, 0.99)


def net(dtype: torch.dtype) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1)).to(dtype)


def make(model: nn.Module, learning_rate: float = 0.01) -> MasterAdamW:
    return MasterAdamW(list(model.parameters()), learning_rate, BETAS, 0.1)


def data(step: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(6, 5, generator=torch.Generator().manual_seed(step)).to(dtype)


@pytest.mark.parametrize("max_norm", [0.0, 0.05])
def test_in_float32_it_is_torchs_adamw(max_norm: float) -> None:
    ours, theirs = net(torch.float32), net(torch.float32)
    optimizer = make(ours)
    expected = torch.optim.AdamW(theirs.parameters(), lr=0.01, betas=BETAS, weight_decay=0.1)
    for step in range(5):
        ours(data(step, torch.float32)).square().sum().backward()
        theirs(data(step, torch.float32)).square().sum().backward()
        norm = nn.utils.clip_grad_norm_(theirs.parameters(), max_norm or math.inf)
        assert norm > 0.05
        expected.step()
        expected.zero_grad()
        assert optimizer.step(max_norm, Processes()) == float(norm)
        assert all(p.grad is None for p in ours.parameters())
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_weights_set_apart_have_their_own_rate() -> None:
    ours, theirs = net(torch.float32), net(torch.float32)
    optimizer = make(ours)
    optimizer.set_apart(list(ours[2].parameters()), 0.1)
    groups = [{"params": list(theirs[0].parameters())}, {"params": list(theirs[2].parameters()), "lr": 0.1}]
    expected = torch.optim.AdamW(groups, lr=0.01, betas=BETAS, weight_decay=0.1)
    for step in range(5):
        ours(data(step, torch.float32)).square().sum().backward()
        theirs(data(step, torch.float32)).square().sum().backward()
        optimizer.step(0.0, Processes())
        expected.step()
        expected.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_who_watches_sees_the_gradient_before_it_is_clipped(dtype: torch.dtype) -> None:
    model, seen = net(dtype), list[float]()
    optimizer = make(model)
    model(data(0, dtype)).square().sum().backward()
    norm = optimizer.step(1e-3, Processes(), lambda all: seen.append(float(nn.utils.get_total_norm(all))))
    assert seen == [pytest.approx(norm)] and norm > 1e-2


def test_bfloat16_weights_follow_float32_masters() -> None:
    model = net(torch.bfloat16)
    optimizer = make(model, learning_rate=1e-5)  # below bfloat16's resolution: only the masters can hold the sum
    masters = [m.detach().clone() for m in optimizer.master]
    assert all(m.dtype == torch.float32 for m in masters)
    weights = [p.detach().clone() for p in model.parameters()]
    for step in range(40):
        model(data(step, torch.bfloat16)).sum().backward()
        optimizer.step(1.0, Processes())
        for p, m in zip(model.parameters(), optimizer.master, strict=True):
            assert torch.equal(p, m.to(torch.bfloat16))
        if step == 0:
            unmoved = [torch.equal(p, w) for p, w in zip(model.parameters(), weights, strict=True)]
            moved = [not torch.equal(m, k) for m, k in zip(optimizer.master, masters, strict=True)]
            assert any(unmoved) and all(moved)
    assert any(not torch.equal(p, w) for p, w in zip(model.parameters(), weights, strict=True))


def test_bfloat16_gradients_add_up_in_float32() -> None:
    weight = nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))
    optimizer = MasterAdamW([weight], 0.01, BETAS, 0.0)
    for _ in range(1000):  # bfloat16 sums of ones stop at 256
        weight.sum().backward()
    assert weight.grad is None
    assert optimizer.master[0].grad is not None and float(optimizer.master[0].grad) == 1000.0
    assert optimizer.step(0.0, Processes()) == 1000.0
    assert optimizer.master[0].grad is None


def test_a_weight_without_a_gradient_decays_and_nothing_else() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = MasterAdamW([weight], 0.01, BETAS, 0.1)
    assert optimizer.step(1.0, Processes()) == 0.0
    assert torch.allclose(weight, torch.full((2,), 1 - 0.01 * 0.1))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gradient_that_is_not_finite_changes_nothing(bad: float, dtype: torch.dtype) -> None:
    model = net(dtype)
    optimizer = make(model)
    before = copy.deepcopy(model.state_dict())
    (model(data(0, dtype)).sum() * bad).backward()
    assert not math.isfinite(optimizer.step(1.0, Processes()))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not optimizer.adamw.state_dict()["state"]
    model(data(1, dtype)).sum().backward()
    assert math.isfinite(optimizer.step(1.0, Processes()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_state_restores_masters_moments_and_weights_bit_for_bit(dtype: torch.dtype) -> None:
    model = net(dtype)
    optimizer = make(model, 1e-3)

    def train(m: nn.Module, o: MasterAdamW, first: int) -> None:
        for step in range(first, first + 3):
            m(data(step, dtype)).square().sum().backward()
            o.step(1.0, Processes())

    train(model, optimizer, 0)
    state = copy.deepcopy(optimizer.state_dict())
    other = net(dtype)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(1)
    restored = make(other, 1e-3)
    restored.load_state_dict(copy.deepcopy(state))
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), model.parameters(), strict=True))
    train(model, optimizer, 3)
    train(other, restored, 3)
    assert all(torch.equal(a, b) for a, b in zip(restored.master, optimizer.master, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), model.parameters(), strict=True))
    moments = [o.adamw.state_dict()["state"] for o in (optimizer, restored)]
    for i in range(4):
        assert all(torch.equal(moments[0][i][k], moments[1][i][k]) for k in ("step", "exp_avg", "exp_avg_sq"))

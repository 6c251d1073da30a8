"""The critic: values of its own, learnt by clipped regression, beside a policy that does not notice."""

import copy
from typing import Any

import pytest
import torch
from tiny import make_batch, randomise, tiny_model, with_adapter

from rlft.base import Batch, Processes, RunError
from rlft.models.adapter import has_adapter, only
from rlft.models.critic import CRITIC, CriticRole
from rlft.models.policy import Policy
from rlft.models.roles import OldPolicyRole, over_processes

KINDS = ["lora", "none"]


def make(
    kind: str = "lora", clip: float = 0.2, seed: int = 0, tokens: int = 4096, **changes: Any
) -> tuple[Policy, CriticRole]:
    model = tiny_model()
    policy = Policy(with_adapter(model) if kind == "lora" else model.requires_grad_(True), print)
    settings = {"learning_rate": 0.01, "betas": (0.9, 0.999), "weight_decay": 0.0, "max_norm": 1.0, **changes}
    return policy, CriticRole(policy, tokens, "completion", Processes(), seed, clip=clip, **settings)


def batch() -> Batch:
    """Equal states have equal returns, so that the best loss is 0."""
    made = make_batch([[5, 6, 7], [8]], [[[9, 10], [11, 12, 13]], [[14, 15, 16]]], holes=((1, 1),))
    target = torch.tensor([[-1, 0.5, 0], [-1, 0, 1], [0.3, -0.6, 0.9]], dtype=torch.float64)
    return made.replace(weight=made.mask.double() / made.mask.sum(), returns=target)


def trained(policy: Policy) -> dict[str, torch.Tensor]:
    return {n: p for n, p in policy.model.named_parameters() if f".{CRITIC}." not in n}


@pytest.mark.parametrize("kind", KINDS)
def test_values_begin_at_zero(kind: str) -> None:
    _, critic = make(kind)
    value = critic.annotate(batch()).value
    assert value is not None and value.dtype == torch.float64 and not value.requires_grad
    assert torch.equal(value, torch.zeros(3, 3, dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
def test_learning_approaches_the_returns_and_leaves_the_policy_alone(kind: str) -> None:
    policy, critic = make(kind, clip=0.0)
    before = {n: (p.detach().clone(), p.requires_grad) for n, p in trained(policy).items()}
    logp = policy(batch())[0].detach()
    rng = []
    for _ in range(60):
        mini = critic.annotate(batch())
        rng.append(critic.learn(mini))
    assert rng[0]["critic/loss"] == pytest.approx(0.5 * float((batch().weight * batch().returns.square()).sum()))
    assert rng[-1]["critic/loss"] < 0.05 * rng[0]["critic/loss"]
    assert rng[0]["critic/explained_variance"] == pytest.approx(0.0)
    assert 0.9 < rng[-1]["critic/explained_variance"] <= 1
    assert rng[0]["critic/grad_norm"] > 0
    for n, p in trained(policy).items():
        assert torch.equal(p, before[n][0]) and p.requires_grad == before[n][1]
        assert p.grad is None
    assert torch.equal(policy(batch())[0], logp)
    assert has_adapter(policy.model) == (kind == "lora")


def test_a_gradient_the_policy_already_has_is_not_touched() -> None:
    policy, critic = make()
    policy(batch())[0].sum().backward()
    kept = {n: p.grad.clone() for n, p in trained(policy).items() if p.grad is not None}
    assert len(kept) == 28
    critic.learn(critic.annotate(batch()))
    assert all(torch.equal(trained(policy)[n].grad, g) for n, g in kept.items())  # type: ignore[arg-type]


def test_its_adapter_is_its_own_and_values_are_seen_through_it_alone() -> None:
    policy, critic = make()
    with torch.no_grad():
        critic.head.weight.normal_(generator=torch.Generator().manual_seed(1))
    value = critic.annotate(batch()).value
    randomise(policy.model, "default", 0.7, seed=5)
    assert torch.equal(critic.annotate(batch()).value, value)  # type: ignore[arg-type]
    logp = policy(batch())[0].detach()
    randomise(policy.model, CRITIC, 0.7, seed=6)
    assert (critic.annotate(batch()).value - value).abs().max() > 0.01  # type: ignore[operator]
    assert torch.equal(policy(batch())[0], logp)
    config = policy.model.peft_config
    assert config[CRITIC].r == config["default"].r == 2 and policy.model.active_adapters == ["default"]


def test_a_value_is_the_head_on_the_state_before_the_token() -> None:
    policy, critic = make()
    randomise(policy.model, CRITIC, 0.5)
    with torch.no_grad():
        critic.head.weight.normal_(generator=torch.Generator().manual_seed(1))
        critic.head.bias.fill_(0.25)
    made = batch()
    value = critic.annotate(made).value
    assert value is not None
    with torch.no_grad(), only(policy.model, CRITIC):
        states = policy.base.model(torch.tensor([[5, 6, 7, 11, 12, 13]]), use_cache=False).last_hidden_state[0, 2:5]
    expected = states @ critic.head.weight[0] + 0.25
    assert value[1, [0, 2]].tolist() == pytest.approx(expected[[0, 2]].tolist(), abs=1e-9)
    assert value[1, 1] == 0 and value[0, 2] == 0  # attended but not trained, and padding


def test_the_clipped_loss_by_hand() -> None:
    """½ Σ w·max((V-R)², (clip(V, V_old ± 0.2) - R)²), on four tokens with V_old = 0.5:
    V=0.6, R=1.5: inside the clip, 0.81. V=1, R=1.5: clipped to 0.7, the larger of 0.25 and 0.64.
    V=1, R=0.5: clipped to 0.7, the larger of 0.25 and 0.04. V=-0.5, R=0.9: clipped to 0.3, 1.96 and 0.36."""
    _, critic = make(clip=0.2)
    made = make_batch([[5]], [[[6, 7, 8, 9]]])
    value = torch.tensor([[0.6, 1.0, 1.0, -0.5]], dtype=torch.float64, requires_grad=True)
    made = made.replace(
        value=torch.full((1, 4), 0.5, dtype=torch.float64),
        returns=torch.tensor([[1.5, 1.5, 0.5, 0.9]], dtype=torch.float64),
        weight=torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64),
    )
    loss = critic._loss(value, made)
    assert loss.item() == pytest.approx(0.5 * (0.81 + 2 * 0.64 + 3 * 0.25 + 4 * 1.96))
    loss.backward()
    assert value.grad is not None
    assert value.grad[0].tolist() == pytest.approx([-0.9, 0.0, 1.5, -5.6])  # the clipped one has no gradient
    critic.clip = 0.0
    assert critic._loss(value, made).item() == pytest.approx(0.5 * (0.81 + 2 * 0.25 + 3 * 0.25 + 4 * 1.96))


@pytest.mark.parametrize("kind", KINDS)
def test_the_step_does_not_depend_on_the_split(kind: str) -> None:
    states = []
    for tokens in (1, 9, 4096):
        _, critic = make(kind, tokens=tokens)
        for _ in range(3):
            metrics = critic.learn(critic.annotate(batch()))
        states.append((critic.state_dict()["master"], metrics))
    for master, metrics in states[1:]:
        assert all((a - b).abs().max() < 1e-9 for a, b in zip(master, states[0][0], strict=True))
        assert metrics == pytest.approx(states[0][1], abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_restores_it_bit_for_bit(kind: str) -> None:
    _, critic = make(kind)
    for _ in range(3):
        critic.learn(critic.annotate(batch()))
    state = copy.deepcopy(critic.state_dict())
    _, other = make(kind, seed=4)
    other.load_state_dict(state)
    for _ in range(2):
        first, second = critic.annotate(batch()), other.annotate(batch())
        assert torch.equal(first.value, second.value) and first.value.abs().max() > 0  # type: ignore[arg-type,union-attr]
        assert critic.learn(first) == other.learn(second)


def test_the_seed_fixes_it() -> None:
    def adapter(seed: int) -> list[torch.Tensor]:
        return [m.detach() for m in make(seed=seed)[1].state_dict()["master"]]

    assert all(torch.equal(a, b) for a, b in zip(adapter(1), adapter(1), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(adapter(1), adapter(2), strict=True))


def test_a_gradient_that_is_not_finite_ends_the_run() -> None:
    _, critic = make()
    made = critic.annotate(batch())
    with pytest.raises(RunError, match=r"critic_learning_rate"):
        critic.learn(made.replace(returns=made.returns / 0))  # type: ignore[operator]


def test_the_old_policy_is_the_policy_as_it_is() -> None:
    policy, _ = make()
    role = OldPolicyRole(policy, 8, "group", Processes())
    annotated = role.annotate(batch())
    assert annotated.logp_old is not None and not annotated.logp_old.requires_grad
    assert (annotated.logp_old - policy(batch())[0]).abs().max() < 1e-12


def test_scores_of_rows_come_back_where_they_belong() -> None:
    policy, _ = make()
    made = batch()

    def score(micro: Batch) -> torch.Tensor:
        assert micro.row is not None
        return 100.0 * micro.row[:, None] + micro.completion_ids

    found = over_processes(policy, made, 4, "completion", Processes(), score)
    expected = 100.0 * torch.arange(3)[:, None] + made.completion_ids
    assert torch.equal(found * made.attention, expected * made.attention)

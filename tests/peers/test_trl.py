"""w·GC is minus the gradient of TRL's losses on the same tensors, wherever both have a method.

TRL's own `_compute_loss` runs, on trainers that are not set up: log π is a leaf in the place of a model's output."""

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import trl
from torch import Tensor

from rlft.algorithms import (
    CISPO,
    DPO,
    IPO,
    K3,
    KTO,
    SAPO,
    BradleyTerry,
    ConstantLength,
    Distill,
    GroupCentred,
    GroupNormalised,
    Hinge,
    LeaveOneOut,
    NoKL,
    PolicyGradient,
    PPOClip,
    RobustDPO,
    SequenceMean,
    SequenceSum,
    TokenMean,
)
from rlft.base import Algorithm, Batch
from rlft.testing import draw_logp, make_batch

TOKEN, GEOMETRIC = PPOClip(0.2, 0.28), PPOClip(0.1, 0.2, "geometric")
POLICY_GRADIENTS: dict[str, tuple[PolicyGradient, dict[str, Any]]] = {
    "grpo": (PolicyGradient(GroupNormalised(), TOKEN, K3(), 0.04), {"loss_type": "grpo", "beta": 0.04}),
    "dr_grpo": (
        PolicyGradient(GroupCentred(), TOKEN, NoKL(), 0.0, ConstantLength(7)),
        {"loss_type": "dr_grpo", "max_completion_length": 7},
    ),
    "dapo": (PolicyGradient(GroupNormalised(), TOKEN, NoKL(), 0.0, TokenMean()), {"loss_type": "dapo"}),
    "cispo": (
        PolicyGradient(GroupNormalised(), CISPO(eps_low=1.0, eps_high=0.1), NoKL(), 0.0, TokenMean()),
        {"loss_type": "cispo", "epsilon_high": 1.1},  # TRL's is the cap itself, not what is added to 1
    ),
    "sapo": (
        PolicyGradient(GroupNormalised(), SAPO(1.0, 1.05), NoKL(), 0.0),
        {"loss_type": "sapo", "sapo_temperature_pos": 1.0, "sapo_temperature_neg": 1.05},
    ),
    "gspo": (
        PolicyGradient(GroupNormalised(), GEOMETRIC, NoKL(), 0.0),
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon_low": 0.1, "epsilon_high": 0.2},
    ),
}  # fmt: skip
PAIRED: dict[str, tuple[Algorithm, dict[str, Any]]] = {
    "dpo": (DPO(beta=0.3), {"loss_types": ["sigmoid"]}),
    "dpo, averaged": (DPO(beta=3.0, averaged=True), {"loss_types": ["sigmoid_norm"], "beta": 3.0}),
    "ipo": (IPO(beta=0.3, averaged=True), {"loss_types": ["ipo"]}),  # TRL's is of means
    "hinge": (Hinge(beta=0.3), {"loss_types": ["hinge"]}),
    "robust": (RobustDPO(beta=0.3, flipped=0.1), {"loss_types": ["robust"], "label_smoothing": 0.1}),
}


def bare(cls: type, **attributes: Any) -> Any:
    """A trainer that was not set up, with what its loss reads."""
    one = SimpleNamespace(
        num_processes=1, device="cpu", sync_gradients=True, gather=lambda x: x, gather_for_metrics=lambda x: x,
        reduce=lambda x, reduction: x,
    )  # fmt: skip
    common = {
        "accelerator": one, "model": SimpleNamespace(training=True), "_metrics": {"train": defaultdict(list)},
        "aux_loss_enabled": False, "current_gradient_accumulation_steps": 1,
    }  # fmt: skip
    trainer = cls.__new__(cls)
    for name, value in {**common, **attributes}.items():
        setattr(trainer, name, value)
    return trainer


def ours(algorithm: Algorithm, batch: Batch, logp: Tensor) -> tuple[Tensor, Batch]:
    prepared = algorithm.prepare(batch)
    weight = algorithm.reduction(batch.mask, batch.group).double()
    return torch.where(batch.mask, weight * algorithm.coefficient(prepared, logp), 0.0), prepared


def full(queries: int, samples: int, seed: int, **changes: Any) -> Batch:
    """A batch all of whose rows have a trained token, and no hole: TRL has a completion mask."""
    batch = make_batch(queries, samples, 5, seed=seed, holes=False, **changes)
    lengths = torch.randint(1, 6, (queries * samples,), generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(5) < lengths[:, None]
    return batch.replace(mask=mask, attention=mask)


@pytest.fixture(autouse=True)
def _float64() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", POLICY_GRADIENTS)
@pytest.mark.parametrize("seed", range(5))
def test_policy_gradients(name: str, seed: int) -> None:
    algorithm, settings = POLICY_GRADIENTS[name]
    batch = full(3, 4, seed)
    logp = draw_logp(batch)
    expected, prepared = ours(algorithm, batch, logp)
    leaf = logp.clone().requires_grad_()
    arguments = {"use_bias_correction_kl": False, "delta": None, "steps_per_generation": 1, **settings}
    known = {
        "beta": 0.0, "epsilon_low": 0.2, "epsilon_high": 0.28, "importance_sampling_level": "token",
        "max_completion_length": 5, "top_entropy_quantile": 1.0, "off_policy_mask_threshold": None, "use_vllm": False,
        "_entropy_bonus_enabled": False,
    }  # fmt: skip
    trainer = bare(trl.GRPOTrainer, args=SimpleNamespace(**arguments), **{**known, **settings})
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (leaf, torch.zeros_like(leaf), None)
    assert prepared.advantage is not None
    advantage = (prepared.advantage * batch.mask).sum(1) / batch.mask.sum(1)
    loss = trainer._compute_loss(None, {
        "prompt_ids": batch.prompt_ids[batch.group], "prompt_mask": batch.prompt_mask[batch.group],
        "completion_ids": batch.completion_ids, "completion_mask": batch.mask.double(), "advantages": advantage,
        "old_per_token_logps": batch.logp_old, "ref_per_token_logps": batch.logp_ref,
        "num_items_in_batch": batch.mask.sum().double(),
    })  # fmt: skip
    (gradient,) = torch.autograd.grad(loss, leaf)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(expected, -gradient, rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_rloo(seed: int) -> None:
    algorithm = PolicyGradient(LeaveOneOut(), PPOClip(0.4, 0.5, "sequence"), NoKL(), 0.0, SequenceSum())
    batch = full(3, 4, seed)
    logp = draw_logp(batch)
    expected, prepared = ours(algorithm, batch, logp)
    leaf = logp.clone().requires_grad_()
    trainer = bare(trl.RLOOTrainer, epsilon_low=0.4, epsilon_high=0.5)
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (leaf, torch.zeros_like(leaf), None)
    assert prepared.advantage is not None and batch.logp_old is not None
    loss = trainer._compute_loss(None, {
        "prompt_ids": batch.prompt_ids[batch.group], "prompt_mask": batch.prompt_mask[batch.group],
        "completion_ids": batch.completion_ids, "completion_mask": batch.mask.double(),
        "advantages": (prepared.advantage * batch.mask).sum(1) / batch.mask.sum(1),
        "old_logps": (batch.logp_old * batch.mask).sum(1),
    })  # fmt: skip
    (gradient,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(expected, -gradient, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", PAIRED)
@pytest.mark.parametrize("seed", range(5))
def test_pairs(name: str, seed: int) -> None:
    algorithm, settings = PAIRED[name]
    batch = full(4, 2, seed, rewards=torch.tensor([1.0, 0.0] * 4))
    logp = draw_logp(batch)
    expected, _ = ours(algorithm, batch, logp)
    order = torch.cat([torch.arange(0, 8, 2), torch.arange(1, 8, 2)])  # TRL: all that are preferred, then the others
    leaf = logp[order].requires_grad_()
    mask = batch.mask[order]
    assert batch.logp_ref is not None
    reference = (batch.logp_ref[order] * mask).sum(1)
    known = {"beta": 0.3, "label_smoothing": 0.0, "loss_weights": [1.0]}
    trainer = bare(
        trl.DPOTrainer, ld_alpha=None, precompute_ref_logps=True, f_divergence_type="reverse_kl", use_weighting=False,
        _total_train_tokens=0, _tp_size=1, **{**known, **settings},
    )  # fmt: skip
    blank = torch.zeros_like(leaf)
    outputs = SimpleNamespace(log_probs=leaf * mask, entropy=blank, mean_logits=blank, is_top1=blank > 0)
    behind_prompt = torch.cat([torch.zeros(8, 1), mask], 1)
    loss = trainer._compute_loss(lambda **_: outputs, {
        "input_ids": torch.zeros(8, 6, dtype=torch.long), "attention_mask": torch.ones(8, 6),
        "completion_mask": behind_prompt, "ref_chosen_logps": reference[:4], "ref_rejected_logps": reference[4:],
    }, False)  # fmt: skip
    (gradient,) = torch.autograd.grad(loss, leaf)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(expected[order], -gradient, rtol=0, atol=1e-9)


@pytest.mark.parametrize("centring", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(5))
def test_reward_models(seed: int, centring: float) -> None:
    batch = full(4, 2, seed, rewards=torch.tensor([1.0, 0.0] * 4))
    scores = draw_logp(batch)
    expected, _ = ours(BradleyTerry(centring), batch, scores)
    order = torch.cat([torch.arange(0, 8, 2), torch.arange(1, 8, 2)])
    last = (torch.arange(8), batch.mask.sum(1) - 1)
    leaf = scores[last][order].requires_grad_()
    arguments = SimpleNamespace(center_rewards_coefficient=centring or None)
    trainer = bare(trl.RewardTrainer, args=arguments, _total_train_tokens=0, _tp_size=1)
    outputs = SimpleNamespace(logits=leaf[:, None])
    loss = trainer.compute_loss(lambda **_: outputs, {"attention_mask": batch.attention})
    (gradient,) = torch.autograd.grad(loss, leaf)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(expected[last][order], -gradient, rtol=0, atol=1e-9)
    expected[last] = 0
    assert not expected.any(), "the other tokens carry nothing"


@pytest.mark.parametrize("seed", range(5))
def test_kto(seed: int) -> None:
    algorithm = KTO(beta=0.3, good=1.2, bad=0.7)
    batch = full(6, 1, seed, rewards=torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 0.0]))
    logp = draw_logp(batch)
    expected, _ = ours(algorithm, batch, logp)
    leaf = logp.clone().requires_grad_()
    trainer = bare(
        trl.KTOTrainer, beta=0.3, desirable_weight=1.2, undesirable_weight=0.7, loss_type="kto", calculate_KL=True,
        precompute_ref_logps=True, _total_train_tokens=0, _tp_size=1,
    )  # fmt: skip
    blank = torch.zeros_like(leaf)
    outputs = SimpleNamespace(log_probs=leaf * batch.mask, entropy=blank, mean_logits=blank, is_top1=blank > 0)
    trainer._compute_kl_logps = lambda *_: batch.mismatched
    assert batch.logp_ref is not None and batch.mismatched is not None
    loss = trainer._compute_loss(lambda **_: outputs, {
        "input_ids": torch.zeros(6, 6, dtype=torch.long), "attention_mask": torch.ones(6, 6),
        "completion_mask": torch.cat([torch.zeros(6, 1), batch.mask], 1), "label": batch.reward > 0.5,
        "ref_logps": (batch.logp_ref * batch.mask).sum(1), "ref_KL_logps": torch.zeros(6),
    }, False)  # fmt: skip
    (gradient,) = torch.autograd.grad(loss, leaf)
    assert expected.abs().max() > 1e-3 and batch.mismatched.mean() > 0
    torch.testing.assert_close(expected, -gradient, rtol=0, atol=1e-9)


@pytest.mark.filterwarnings("ignore:.*experimental.*")
@pytest.mark.parametrize("clip", [None, 1e9], ids=["one step a batch", "several"])
def test_distillation(clip: float | None) -> None:
    """TRL's self-distillation on the tokens that were drawn; its ratio is capped, and here the cap is far off."""
    from trl.experimental.sdft.sdft_trainer import SDFTTrainer

    batch = full(3, 2, 0)
    draw = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 6, 5, 4, generator=draw)
    ids = batch.completion_ids % 4

    def logp_of(logits: Tensor) -> Tensor:
        return logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]

    algorithm = Distill(off_policy=clip is not None, reduction=SequenceMean())
    expected, _ = ours(algorithm, batch.replace(logp_teacher=logp_of(teacher)), logp_of(student))
    leaf = student.clone().requires_grad_()
    (moved,) = torch.autograd.grad((expected * logp_of(leaf)).sum(), leaf)
    arguments = {"distillation_mode": "sampled_token", "distillation_alpha": 1.0, "distillation_is_clip": clip}
    trainer = bare(
        SDFTTrainer, args=SimpleNamespace(**arguments), _log_self_distillation_metric=lambda *_: None
    )  # fmt: skip
    logits = SimpleNamespace(
        student_logits=leaf, teacher_logits=teacher, completion_ids=ids, loss_mask=batch.mask.double()
    )  # fmt: skip
    loss = trainer._compute_self_distillation_loss(
        SimpleNamespace(training=True), {"old_per_token_logps": batch.logp_old}, logits
    )  # fmt: skip
    (gradient,) = torch.autograd.grad(loss, leaf)
    assert moved.abs().max() > 1e-3
    torch.testing.assert_close(moved, -gradient, rtol=0, atol=1e-9)

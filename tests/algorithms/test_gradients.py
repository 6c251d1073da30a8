"""Every method's coefficient is its objective's gradient, and does not depend on padding, order or splitting."""

from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlft.algorithms import (
    CISPO,
    DPO,
    GAE,
    IPO,
    K2,
    K3,
    KTO,
    ORPO,
    RPO,
    SAPO,
    BradleyTerry,
    ConstantLength,
    Distill,
    GroupCentred,
    GroupNormalised,
    Hinge,
    KLInReward,
    LeaveOneOut,
    NoKL,
    NoSurrogate,
    PolicyGradient,
    PPOClip,
    RewardAdvantage,
    RobustDPO,
    SequenceSum,
    SimPO,
    StepNormalised,
    Sum,
    Tapered,
    TokenMean,
    TokenWhitened,
    WeightedLikelihood,
)
from rlft.base import Algorithm, Batch
from rlft.testing import ANNOTATIONS, assert_gradient, make_batch

CLIP = PPOClip(0.2, 0.28)
METHODS: dict[str, Algorithm] = {
    "sft, rft": WeightedLikelihood(),
    "sft by tokens": WeightedLikelihood(TokenMean()),
    "dpo": DPO(beta=0.3),
    "dpo, smoothed": DPO(beta=0.3, label_smoothing=0.2),
    "dpo, averaged": DPO(beta=3.0, averaged=True),
    "ipo": IPO(beta=0.3),
    "ipo, averaged": IPO(beta=0.3, averaged=True),
    "hinge": Hinge(beta=0.7),
    "robust": RobustDPO(beta=0.3, flipped=0.2),
    "rpo": RPO(beta=0.3, label_smoothing=0.1, alpha=0.7),
    "simpo": SimPO(beta=2.0, gamma=0.5),
    "orpo": ORPO(weight=0.4),
    "bradley_terry": BradleyTerry(),
    "bradley_terry, centred": BradleyTerry(centring=0.3),
    "bradley_terry, averaged": BradleyTerry(centring=0.3, averaged=True),
    "kto": KTO(beta=0.3, good=1.3, bad=0.7),
    "distill": Distill(),
    "distill off policy": Distill(off_policy=True, reduction=SequenceSum()),
    "ppo": PolicyGradient(GAE(0.9, 0.8, True), CLIP, KLInReward(), 0.05),
    "ppo without KL": PolicyGradient(GAE(1.0, 0.95, False), CLIP, NoKL(), 0.0),
    "grpo": PolicyGradient(GroupNormalised(), CLIP, K3(), 0.04),
    "grpo off policy": PolicyGradient(GroupNormalised(scale="batch"), CLIP, K3(off_policy=True), 0.4),
    "k2": PolicyGradient(GroupNormalised(scale="none"), CLIP, K2(), 0.4, Sum()),
    "k2 off policy": PolicyGradient(GroupCentred(), CLIP, K2(off_policy=True), 0.4, TokenMean()),
    "dr_grpo": PolicyGradient(GroupCentred(), CLIP, K3(), 0.0, ConstantLength(7)),
    "rloo": PolicyGradient(LeaveOneOut(), PPOClip(0.2, 0.28, "sequence"), KLInReward(), 0.1, SequenceSum()),
    "gspo": PolicyGradient(GroupNormalised(), PPOClip(0.05, 0.06, "geometric"), K3(), 0.0),
    "grpo_process": PolicyGradient(StepNormalised(), CLIP, K3(), 0.04),
    "grpo_process, KL in the reward": PolicyGradient(StepNormalised(scale="batch"), CLIP, KLInReward(), 0.1),
    "cispo": PolicyGradient(GroupNormalised(), CISPO(0.1, 0.2), NoKL(), 0.0, TokenMean()),
    "sapo": PolicyGradient(GroupNormalised(), SAPO(1.0, 1.5), K3(), 0.04),
    "topr": PolicyGradient(RewardAdvantage(), Tapered(), K3(), 0.0, SequenceSum()),
    "reinforce_pp": PolicyGradient(TokenWhitened(), CLIP, KLInReward(), 0.1, TokenMean()),
    "grpo with entropy": PolicyGradient(GroupNormalised(), CLIP, K3(), 0.04, entropy=0.3),
    "rloo with entropy": PolicyGradient(
        LeaveOneOut(), PPOClip(0.2, 0.28, "sequence"), KLInReward(), 0.1, TokenMean(), entropy=0.3
    ),
    "reinforce": PolicyGradient(RewardAdvantage(), NoSurrogate(), K3(), 0.1, SequenceSum()),
}
by_name = pytest.mark.parametrize("name", METHODS)


def batch_for(algorithm: Algorithm, seed: int = 0, needs: frozenset[str] | None = None) -> Batch:
    samples = 2 if algorithm.atom == "group" else 3
    return make_batch(3, samples, 5, seed=seed, needs=tuple(ANNOTATIONS) if needs is None else needs)


def update(algorithm: Algorithm, batch: Batch, logp: Tensor) -> Tensor:
    """Returns weight · coefficient [B, T] for a batch taken whole."""
    batch = algorithm.prepare(batch)
    return algorithm.reduction(batch.mask, batch.group) * algorithm.coefficient(batch, logp)


def draw_logp(batch: Batch, seed: int) -> Tensor:
    noise = torch.randn(batch.mask.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return -1.5 + 0.5 * noise


@by_name
@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_the_coefficient_is_the_gradient_of_the_objective(name: str, seed: int) -> None:
    assert_gradient(METHODS[name], batch_for(METHODS[name], seed))


@by_name
def test_what_is_declared_suffices(name: str) -> None:
    algorithm = METHODS[name]
    assert_gradient(algorithm, batch_for(algorithm, needs=algorithm.needs))


@by_name
def test_what_is_declared_is_needed(name: str) -> None:
    algorithm = METHODS[name]
    for need in algorithm.needs:
        with pytest.raises(ValueError, match=ANNOTATIONS[need]):
            assert_gradient(algorithm, batch_for(algorithm, needs=algorithm.needs - {need}))


@by_name
@pytest.mark.parametrize("junk", [float("nan"), float("inf"), 1e30])
def test_junk_under_the_mask_changes_nothing(name: str, junk: float) -> None:
    algorithm = METHODS[name]
    batch = batch_for(algorithm)
    logp = draw_logp(batch, 1)
    of_tokens = [field for field in ANNOTATIONS.values() if getattr(batch, field).shape == batch.mask.shape]
    annotations = {field: torch.where(batch.mask, getattr(batch, field), junk) for field in of_tokens}
    dirty = update(algorithm, batch.replace(**annotations), torch.where(batch.mask, logp, junk))
    assert torch.equal(dirty, update(algorithm, batch, logp))
    assert not dirty[~batch.mask].any()


@by_name
@settings(max_examples=5)
@given(seed=st.integers(0, 10**6))
def test_permuting_rows_permutes_the_result(name: str, seed: int) -> None:
    algorithm = METHODS[name]
    batch = batch_for(algorithm, seed)
    logp = draw_logp(batch, seed)
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(seed))
    moved = batch.replace(
        **{
            f.name: getattr(batch, f.name)[order]
            for f in fields(batch)
            if getattr(batch, f.name) is not None and not f.name.startswith("prompt")
        }
    )
    torch.testing.assert_close(
        update(algorithm, moved, logp[order]), update(algorithm, batch, logp)[order], rtol=1e-12, atol=1e-12
    )


@by_name
@pytest.mark.parametrize("atoms", [1, 2, 100])
def test_any_split_by_atoms_gives_the_same_gradient(name: str, atoms: int) -> None:
    algorithm = METHODS[name]
    batch = batch_for(algorithm)
    logp = draw_logp(batch, 2)
    whole = update(algorithm, batch, logp)
    prepared = algorithm.prepare(batch)
    # `returns` carries each token's place along, so that a part's tokens can be put back.
    place = torch.arange(logp.numel(), dtype=torch.float64).reshape(logp.shape)
    prepared = prepared.replace(weight=algorithm.reduction(batch.mask, batch.group), logp_sampled=logp, returns=place)
    gathered = torch.zeros(logp.numel(), dtype=torch.float64)
    parts = prepared.micro_batches(algorithm.atom, max_atoms=atoms)
    assert len(parts) == -(-len(batch.atoms(algorithm.atom)) // atoms)
    for part in parts:
        assert part.weight is not None and part.logp_sampled is not None and part.returns is not None
        gathered[part.returns.long()] += part.weight * algorithm.coefficient(part, part.logp_sampled)
    torch.testing.assert_close(gathered.reshape(logp.shape), whole, rtol=1e-12, atol=1e-12)


@by_name
def test_a_method_changes_nothing_of_the_batch_it_is_given(name: str) -> None:
    algorithm = METHODS[name]
    batch = batch_for(algorithm)
    before = {f.name: None if (v := getattr(batch, f.name)) is None else v.clone() for f in fields(batch)}
    logp = draw_logp(batch, 3)
    update(algorithm, batch, logp)
    for key, value in before.items():
        assert (value is None and getattr(batch, key) is None) or torch.equal(value, getattr(batch, key))


@by_name
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_coefficient_has_the_dtype_of_log_pi(name: str, dtype: torch.dtype) -> None:
    algorithm = METHODS[name]
    batch = batch_for(algorithm)
    single = {
        f.name: v.to(dtype)
        for f in fields(batch)
        if (v := getattr(batch, f.name)) is not None and v.is_floating_point()
    }
    batch = algorithm.prepare(batch.replace(**single))
    assert algorithm.coefficient(batch, draw_logp(batch, 4).to(dtype)).dtype == dtype

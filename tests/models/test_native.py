"""The native path gives log π, entropy and gradient of sequences run one by one through transformers."""

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from tiny import FAMILIES, direct, family, gradient, make_batch, random_batch, randomise, weights, with_adapter

from rlft.base import Atom, Batch
from rlft.models.adapter import only
from rlft.models.load import POLICY, REFERENCE
from rlft.models.native import attention, layout
from rlft.models.native.attention import Heads
from rlft.models.policy import Policy

EXACT = 1e-9
HEADS = {"as many key heads": 4, "grouped": 2, "one key head": 1}


def shuffled(batch: Batch) -> Batch:
    """The rows out of order, so that those of a group are apart."""
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    return replace(
        batch,
        **{name: getattr(batch, name)[order] for name in ("completion_ids", "attention", "mask", "group", "reward")},
    )


LAYOUTS: dict[str, Batch] = {
    "unequal groups, holes": random_batch(),
    "single completions": random_batch((1, 1, 1), (4, 9, 2), holes=((1, 2),)),
    "a group apart": shuffled(random_batch()),
    "one token each": random_batch((2, 3), (4, 1), 1, holes=()),
    "empty branches beside long ones": make_batch([[5, 6], [7]], [[[9], [10, 11, 12, 13, 14], [15]], [[16, 17], [18]]]),
    "an empty branch last": make_batch([[5, 6, 7]], [[[9, 10, 11], [12]]]),
    "only the first token trained": random_batch((2, 1), (3, 5), 2, holes=((0, 1), (1, 1), (2, 1))),
    "nothing trained in a row": random_batch((2, 1), (2, 6), 3, holes=((0, 0), (0, 1), (0, 2))),
    "an opening": make_batch(
        [[*range(5, 25), 30 + i] for i in range(4)],
        [[[1, 2, 3], [4, 5]], [[6]], [[7, 8], [9]], [[1, 1, 1]]],
        holes=((0, 1),),
    ),
    "prompts that are one another's openings": make_batch(
        [list(range(40)), list(range(38)), [*range(39), 5]], [[[1, 2], [3]], [[4, 5, 6]], [[7], [8, 9]]]
    ),
    "long prompts": random_batch((3, 1, 2), (90, 130, 66), 70),
}


def lora(model: Any, scale: float = 0.3, **changes: object) -> Any:
    """The model with an adapter of any kind that does something."""
    config = LoraConfig(
        **{"r": 2, "lora_alpha": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **changes}
    )
    dtype = model.dtype
    model = get_peft_model(model, config, adapter_name=POLICY, autocast_adapter_dtype=False).to(dtype)
    randomise(model, POLICY, scale)
    return model.eval()


def native_policy(model: Any) -> Policy:
    said: list[str] = []
    policy = Policy(model, said.append)
    assert policy.native is not None and policy.flat and said == []
    return policy


def assert_exact(policy: Policy, batch: Batch, tolerance: float = EXACT) -> None:
    model, weight = policy.model, weights(batch)
    logp, entropy = policy(batch)
    expected, expected_entropy = direct(model, batch)
    assert (logp - expected).abs().max() < tolerance
    assert (entropy - expected_entropy).abs().max() < tolerance
    assert not logp[~batch.mask].any() and not entropy.requires_grad
    theirs = gradient(model, expected, weight)
    assert theirs.norm() > 0.1, "a gradient of nothing proves nothing"
    assert (gradient(model, logp, weight) - theirs).norm() < tolerance * theirs.norm()


@pytest.fixture(scope="module", params=FAMILIES)
def policy(request: pytest.FixtureRequest) -> Policy:
    return native_policy(with_adapter(family(request.param)))


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout(policy: Policy, name: str) -> None:
    assert_exact(policy, LAYOUTS[name])


@pytest.mark.parametrize("name", ["unequal groups, holes", "single completions", "empty branches beside long ones"])
def test_queries_are_taken_in_blocks(policy: Policy, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BLOCK", 4)
    assert_exact(policy, LAYOUTS[name])


@pytest.mark.parametrize("name", ["unequal groups, holes", "a group apart", "empty branches beside long ones"])
def test_branches_are_bundled_by_length(policy: Policy, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without leave to pad, branches of one group are in several bundles."""
    monkeypatch.setattr(layout, "ENOUGH", 0)
    monkeypatch.setattr(layout, "WASTE", 1.0)
    bundles = layout.lay_out(LAYOUTS[name]).branches
    assert len(bundles) > 1 and all(b.real is None for b in bundles)
    assert_exact(policy, LAYOUTS[name])


def test_what_all_prompts_begin_with_is_there_once() -> None:
    found = layout.lay_out(LAYOUTS["an opening"])
    assert len(found.ids) == 20 + 4 + (2 + 1) + 0 + (1 + 0) + 2
    assert found.positions.tolist()[:26] == [*range(20), 20, 20, 20, 20, 21, 22]
    assert layout.opening([[1] * 34, [1] * 33 + [2]]) == 33
    assert layout.opening([[1] * 33, [1] * 33]) == 32  # the last token of each is its own
    assert layout.opening([[1] * 32, [1] * 32]) == 0  # 31 saved tokens are too few
    assert layout.opening([[1] * 99]) == layout.opening([]) == 0


@pytest.mark.parametrize("name", ["unequal groups, holes", "single completions", "an opening"])
def test_running_each_block_again_in_backward(policy: Policy, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert policy.native is not None
    monkeypatch.setattr(policy.native, "recompute", True)
    assert_exact(policy, LAYOUTS[name])


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_number_of_key_heads(name: str, heads: str) -> None:
    model = with_adapter(family(name, num_key_value_heads=HEADS[heads]))
    for batch in (LAYOUTS["unequal groups, holes"], LAYOUTS["single completions"]):
        assert_exact(native_policy(model), batch)


def test_biases_everywhere_and_a_stretched_rope() -> None:
    rope = {"rope_type": "llama3", "rope_theta": 100.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32}  # fmt: skip
    model = with_adapter(family("llama", attention_bias=True, mlp_bias=True, rope_parameters=rope))
    assert_exact(native_policy(model), LAYOUTS["long prompts"])


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj"]},
        {"target_modules": ["v_proj", "o_proj"]},
        {"target_modules": ["k_proj", "gate_proj"]},
        {"target_modules": ["up_proj", "down_proj"]},
        {"target_modules": ["q_proj", "down_proj"], "layers_to_transform": [0]},
        {"target_modules": ["q_proj", "down_proj"], "layers_to_transform": [1]},
        {"rank_pattern": {"k_proj": 3, "up_proj": 1, "down_proj": 5}},
        {"alpha_pattern": {"v_proj": 1, "gate_proj": 7}},
        {"r": 3, "use_rslora": True},
        {"target_modules": ["q_proj", "lm_head"]},
        {"modules_to_save": ["lm_head"]},
    ],
    ids=str,
)
def test_every_kind_of_adapter(settings: dict[str, object]) -> None:
    for name in ("llama", "qwen2"):
        assert_exact(native_policy(lora(family(name), **settings)), LAYOUTS["unequal groups, holes"])


@pytest.mark.parametrize("name", FAMILIES)
def test_the_adapter_that_is_on_is_the_one_that_counts(name: str) -> None:
    batch = LAYOUTS["unequal groups, holes"]
    model = with_adapter(family(name))
    policy = native_policy(model)
    other = LoraConfig(r=3, lora_alpha=2, target_modules=["k_proj", "o_proj", "up_proj"], task_type="CAUSAL_LM")
    model.add_adapter(REFERENCE, other, autocast_adapter_dtype=False)
    model.double().eval()
    randomise(model, REFERENCE, 0.3, seed=4)
    for parameter_name, p in model.named_parameters():
        p.requires_grad_("lora_" in parameter_name)
    found: list[torch.Tensor] = []
    for adapter in (POLICY, REFERENCE):
        with only(model, adapter):
            assert_exact(policy, batch)
            used = {n for n, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
            assert used and all(f".{adapter}." in n for n in used)
            found.append(policy(batch)[0].detach())
    with only(model, None):
        logp, entropy = policy(batch)
        assert not logp.requires_grad
        expected, expected_entropy = direct(family(name), batch)
        assert (logp - expected).abs().max() < EXACT and (entropy - expected_entropy).abs().max() < EXACT
        found.append(logp)
    assert torch.equal(policy(batch)[0], found[0])
    assert min((a - b).abs().max() for i, a in enumerate(found) for b in found[:i]) > 0.01


@pytest.mark.parametrize("precise", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_float32(name: str, precise: bool) -> None:
    policy = native_policy(with_adapter(family(name, torch.float32)))
    assert policy.native is not None and policy.native.heads.precise == (name == "qwen2")
    policy.native.heads = replace(policy.native.heads, precise=precise)
    assert_exact(policy, LAYOUTS["unequal groups, holes"], 3e-5)


def test_large_scores_want_float32_products() -> None:
    """Keys with a bias of 100 have scores in the hundreds, which bfloat16 rounds to whole numbers."""
    flat = layout.lay_out_prompts([list(range(9))], torch.device("cpu"))[0]
    qkv = torch.randn(9, 64, generator=torch.Generator().manual_seed(3))
    qkv[:, :32] += 2  # queries of four heads of 8, whose scale no half precision holds; keys and values of two
    qkv[:, 32:48] += 100
    qkv = qkv.bfloat16()
    exact = attention.attend(qkv.double(), Heads(2, 2, 8), flat)
    rough, fine = ((attention.attend(qkv, Heads(2, 2, 8, p), flat) - exact).abs().mean() for p in (False, True))
    assert fine < 0.01 and rough > 10 * fine


def test_without_gradient_the_numbers_are_the_same_and_no_graph_is_made(policy: Policy) -> None:
    batch = LAYOUTS["unequal groups, holes"]
    expected = policy(batch)
    with torch.no_grad():
        found = policy(batch)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)) and not found[0].requires_grad


def test_half_precisions_stay_near() -> None:
    batch = LAYOUTS["unequal groups, holes"]
    for name in FAMILIES:
        exact = direct(with_adapter(family(name)), batch)[0]
        model = with_adapter(family(name, torch.bfloat16))
        ours, theirs = native_policy(model)(batch)[0], direct(model, batch)[0]
        assert ours.dtype == torch.float32
        assert (ours - exact).abs().mean() < 1.5 * (theirs - exact).abs().mean()


@pytest.fixture(scope="module")
def qwen() -> Policy:
    return native_policy(with_adapter(family("qwen3")))


tokens = st.lists(st.integers(3, 63), min_size=1, max_size=7)
groups = st.lists(st.tuples(tokens, st.lists(tokens, min_size=1, max_size=4)), min_size=1, max_size=4)


@settings(max_examples=40)
@given(
    drawn=groups,
    budget=st.integers(1, 60),
    atom=st.sampled_from(["completion", "group"]),
    block=st.sampled_from([2, 64]),
    small=st.booleans(),
)
def test_any_split_gives_the_whole(
    qwen: Policy, drawn: list[tuple[list[int], list[list[int]]]], budget: int, atom: Atom, block: int, small: bool
) -> None:
    batch = make_batch([prompt for prompt, _ in drawn], [rows for _, rows in drawn])
    weight = weights(batch)
    assert qwen.native is not None
    whole, _ = qwen(batch)
    expected = gradient(qwen.model, whole, weight)
    summed = torch.zeros_like(expected)
    seen: list[int] = []
    with (
        patch.object(attention, "BLOCK", block),
        patch.object(layout, "ENOUGH", 0 if small else 256),
        patch.object(qwen.native, "recompute", small),
    ):
        for micro in batch.micro_batches(atom, budget, flat=True):
            part, width = qwen(micro)[0], micro.mask.shape[1]
            assert micro.row is not None and part.shape == micro.mask.shape
            assert (part - whole[micro.row, :width]).abs().max() < 1e-10
            size = int(micro.attention.sum() + micro.prompt_mask.sum())
            assert size <= budget or len(micro.atoms(atom)) == 1
            summed += gradient(qwen.model, part, weight[micro.row, :width])
            seen += micro.row.tolist()
    assert sorted(seen) == list(range(len(batch)))
    assert (summed - expected).norm() <= 1e-10 * expected.norm()

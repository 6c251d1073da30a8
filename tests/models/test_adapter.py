"""Which adapter is on, and that nothing is left behind."""

from typing import Any

import pytest
import torch
import transformers as hf
from tiny import SIZES, VOCABULARY, direct, random_batch, randomise, tiny_model, with_adapter

from rlft.models.adapter import has_adapter, has_dropout, merged, only

BATCH = random_batch()


def add_critic(model: Any) -> None:
    from peft import LoraConfig

    settings = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    model.add_adapter("critic", settings, autocast_adapter_dtype=False)
    for name, p in model.named_parameters():
        if "lora_" in name:
            p.data = p.data.double()
            p.requires_grad_(True)
    randomise(model, "critic", seed=9)


def flags(model: Any) -> dict[str, bool]:
    return {n: p.requires_grad for n, p in model.named_parameters()}


def contents(model: Any) -> dict[str, tuple[int, torch.Tensor]]:
    return {n: (p.data_ptr(), p.detach().clone()) for n, p in model.named_parameters()}


def scores(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return direct(model, BATCH)[0]


@pytest.mark.parametrize("critic", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_merging_leaves_the_very_same_weights_and_flags(critic: bool, dtype: torch.dtype) -> None:
    model = with_adapter(tiny_model(dtype=dtype))
    if critic:
        add_critic(model)
        model.to(dtype)
    before, trainable = contents(model), flags(model)
    with merged(model):
        inside = contents(model)
        assert any(not torch.equal(inside[n][1], before[n][1]) for n in before)
    after = contents(model)
    assert all(after[n][0] == before[n][0] and torch.equal(after[n][1], before[n][1]) for n in before)
    assert flags(model) == trainable
    assert any(trainable.values())


@pytest.mark.parametrize("critic", [False, True])
def test_merged_logits_are_those_beside_the_adapter(critic: bool) -> None:
    model = with_adapter(tiny_model())
    if critic:
        add_critic(model)
    expected = scores(model)
    with merged(model):
        assert (scores(model) - expected).abs().max() < 1e-9
        assert all(not layer.merged for layer in model.modules() if hasattr(layer, "merged_adapters"))
    assert torch.equal(scores(model), expected)


def test_an_error_inside_leaves_nothing_merged_and_nothing_frozen() -> None:
    model = with_adapter(tiny_model())
    before, trainable, expected = contents(model), flags(model), scores(model)
    with pytest.raises(RuntimeError, match="stop"), merged(model):
        raise RuntimeError("stop")
    for adapter in (None, "default"):
        with pytest.raises(RuntimeError, match="stop"), only(model, adapter):
            raise RuntimeError("stop")
    assert flags(model) == trainable
    assert all(torch.equal(contents(model)[n][1], before[n][1]) for n in before)
    assert torch.equal(scores(model), expected)


def test_transposed_weights_merge_too() -> None:
    sizes = {"vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 64}
    config = hf.GPT2Config(**sizes, bos_token_id=1, eos_token_id=2)
    model = with_adapter(tiny_model(hf.GPT2LMHeadModel, config))
    expected = scores(model)
    weight = model.get_base_model().transformer.h[0].attn.c_attn.get_base_layer().weight
    kept = weight.detach().clone()
    with merged(model):
        assert not torch.equal(weight, kept)
        assert (scores(model) - expected).abs().max() < 1e-9


@pytest.mark.parametrize("case", ["dora", "tied head", "whole module", "bias"])
def test_what_is_more_than_a_sum_runs_beside_the_weights(case: str) -> None:
    from peft import LoraConfig, get_peft_model

    settings: dict[str, Any] = {
        "dora": {"use_dora": True, "target_modules": ["q_proj"]},
        "tied head": {"target_modules": ["q_proj", "lm_head"]},
        "whole module": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        "bias": {"target_modules": ["q_proj"], "lora_bias": True},
    }[case]
    tied = case == "tied head"
    config = hf.LlamaConfig(**SIZES, vocab_size=VOCABULARY, tie_word_embeddings=tied, attention_bias=True)
    lora = LoraConfig(r=2, task_type="CAUSAL_LM", **settings)
    model = get_peft_model(tiny_model(config=config), lora, autocast_adapter_dtype=False).eval()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.3 * torch.randn(p.shape, generator=draw, dtype=torch.float64))
    model.double()
    expected = scores(model)
    with merged(model):
        assert (scores(model) - expected).abs().max() < 1e-9


def test_only_turns_one_adapter_on_and_back() -> None:
    plain = tiny_model()
    base = scores(plain)
    model = with_adapter(plain)
    policy = scores(model)
    add_critic(model)
    trainable = flags(model)
    assert torch.equal(scores(model), policy)
    with only(model, None):
        assert torch.equal(scores(model), base)
    with only(model, "critic"):
        critic = scores(model)
        assert flags(model) == trainable
    assert (critic - base).abs().max() > 0.01 and (critic - policy).abs().max() > 0.01
    assert torch.equal(scores(model), policy)
    assert flags(model) == trainable
    assert sum(trainable.values()) == 2 * 2 * 14  # A and B of two adapters on seven layers, twice


def test_a_model_without_an_adapter_is_left_alone() -> None:
    model = tiny_model()
    assert not has_adapter(model)
    expected = scores(model)
    with merged(model):
        assert torch.equal(scores(model), expected)


def test_dropout_is_the_adapters_own() -> None:
    assert not has_dropout(with_adapter(tiny_model()))
    assert has_dropout(with_adapter(tiny_model(), dropout=0.1))
    assert not has_dropout(tiny_model())

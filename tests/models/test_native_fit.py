"""Which models run natively, what is said of the others, and that a model's own weights stay what they are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from peft import LoraConfig, PeftModel, get_peft_model
from tiny import FAMILIES, SIZES, VOCABULARY, direct, family, gradient, random_batch, tiny_model, weights, with_adapter

from rlft.models.adapter import merged
from rlft.models.load import POLICY
from rlft.models.native import block
from rlft.models.policy import Policy

BATCH = random_batch()
KIND = "its attention or activation is of another kind"
OWN = "weights of its own are trained"
FACTORS = "its adapter is more than two factors"


def lora(**settings: Any) -> Any:
    model = family("llama", attention_bias=True)
    config = LoraConfig(**{"r": 2, "target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM", **settings})
    model = get_peft_model(model, config, adapter_name=POLICY, autocast_adapter_dtype=False).double().eval()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.2 * torch.randn(p.shape, generator=draw, dtype=torch.float64))
    return model


def gemma() -> Any:
    config = hf.Gemma2Config(**SIZES, vocab_size=VOCABULARY, head_dim=4, attn_implementation="eager")
    return with_adapter(tiny_model(hf.Gemma2ForCausalLM, config, torch.float32))


UNFIT: dict[str, tuple[Callable[[], Any], str]] = {
    "dropout": (lambda: with_adapter(family("llama"), dropout=0.1), "its adapter has dropout"),
    "DoRA": (lambda: lora(use_dora=True), FACTORS),
    "a bias in the adapter": (lambda: lora(lora_bias=True), FACTORS),
    "an adapter on the embedding": (
        lambda: lora(target_modules=["q_proj", "embed_tokens"]),
        "its embedding has an adapter",
    ),
    "all weights": (lambda: family("llama"), OWN),
    "a whole module": (lambda: lora(modules_to_save=["input_layernorm"]), OWN),
    "a window": (lambda: with_adapter(family("mistral", sliding_window=5)), KIND),
    "a window in one layer": (
        lambda: with_adapter(family("qwen2", use_sliding_window=True, sliding_window=5, max_window_layers=1)),
        KIND,
    ),
    "a rope that looks at the length": (
        lambda: with_adapter(
            family("llama", rope_parameters={"rope_type": "dynamic", "rope_theta": 100.0, "factor": 2.0})
        ),
        KIND,
    ),
    "another activation": (lambda: with_adapter(family("qwen3", hidden_act="gelu")), KIND),
    "another family": (gemma, f"gemma2 is none of {', '.join(FAMILIES)}"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_does_not_fit_runs_through_transformers_and_the_reason_is_said_once(name: str) -> None:
    make, reason = UNFIT[name]
    said: list[str] = []
    model = make()
    policy = Policy(model, said.append)
    assert policy.native is None and not policy.flat
    assert said == [f"{type(policy.base).__name__}: runs through transformers ({reason})"]
    for _ in range(2):
        logp, _ = policy(BATCH)
    assert len(said) == 1
    expected = direct(model, BATCH)[0]
    tolerance = 1e-9 if logp.dtype == torch.float64 else 1e-4
    assert (logp - expected).abs().max() < tolerance
    theirs = gradient(model, expected, weights(BATCH))
    assert (gradient(model, logp, weights(BATCH)) - theirs).norm() < tolerance * theirs.norm()


def test_a_path_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    norm = block.rms_norm
    monkeypatch.setattr(block, "rms_norm", lambda x, scale, eps: norm(x, scale, eps + 0.1))
    said: list[str] = []
    policy = Policy(with_adapter(family("llama")), said.append)
    assert said == ["LlamaForCausalLM: runs through transformers (the native path computes something else)"]
    assert policy.native is None and policy.shares_prompts
    assert (policy(BATCH)[0] - direct(policy.model, BATCH)[0]).abs().max() < 1e-9


def test_a_path_that_breaks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("sizes do not match")

    monkeypatch.setattr(block, "rotate", broken)
    assert Policy(with_adapter(family("llama")), lambda _: None).native is None


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_are_joined_without_a_change_or_a_second_copy(name: str) -> None:
    model = with_adapter(family(name))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    flags = {key: p.requires_grad for key, p in model.named_parameters()}
    expected = direct(model, BATCH)[0]
    policy = Policy(model, print)
    assert policy.native is not None and policy.decoder.config.num_hidden_layers == 2
    after = model.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[key], before[key]) for key in before)
    assert flags == {key: p.requires_grad for key, p in model.named_parameters()}
    assert torch.equal(direct(model, BATCH)[0], expected)
    heads = policy.native.heads
    for module, layer in zip(policy.decoder.layers, policy.native.layers(), strict=True):
        first, gate = module.self_attn.q_proj.base_layer.weight, module.mlp.gate_proj.base_layer.weight
        assert layer.qkv.weight.shape == (heads.queries + 2 * heads.keys, 16) and layer.gate_up.weight.shape == (48, 16)
        assert layer.qkv.weight.data_ptr() == first.data_ptr() and layer.gate_up.weight.data_ptr() == gate.data_ptr()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_merging_is_undone_exactly_and_the_native_path_sees_what_is_there(dtype: torch.dtype) -> None:
    policy = Policy(with_adapter(family("qwen2", dtype)), print)
    assert policy.native is not None
    before = {n: (p.data_ptr(), p.detach().clone()) for n, p in policy.model.named_parameters()}
    expected = policy(BATCH)[0].detach()
    with merged(policy.model), torch.no_grad():
        inside = policy(BATCH)[0]
        assert (inside - direct(policy.model, BATCH)[0]).abs().max() < (1e-9 if dtype == torch.float64 else 0.3)
        assert (inside - expected).abs().max() < (1e-9 if dtype == torch.float64 else 0.3)
    after = dict(policy.model.named_parameters())
    assert all(after[n].data_ptr() == place and torch.equal(after[n], value) for n, (place, value) in before.items())
    assert torch.equal(policy(BATCH)[0], expected)


def test_adapter_and_model_are_saved_as_ever(tmp_path: Path) -> None:
    policy = Policy(with_adapter(family("qwen2", torch.float32)), print)
    assert policy.native is not None
    expected = policy(BATCH)[0].detach()
    policy.model.save_pretrained(tmp_path / "adapter")
    again = PeftModel.from_pretrained(family("qwen2", torch.float32), tmp_path / "adapter").eval()
    assert (direct(again, BATCH)[0] - expected).abs().max() < 1e-5
    policy.model.merge_and_unload().save_pretrained(tmp_path / "merged")
    saved = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    assert (direct(saved, BATCH)[0] - expected).abs().max() < 1e-5

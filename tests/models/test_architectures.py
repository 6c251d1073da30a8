"""Models beside Llama: other caches, other heads. What cannot be shared or is not known is said, never guessed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf
from tiny import NumberChat, direct, random_batch, tiny_model, with_adapter

from rlft.base import Batch, Sampling, UserError
from rlft.models.cache import CachedDecoder, WholeDecoder
from rlft.models.decode import decode
from rlft.models.policy import Policy
from rlft.models.sampler import decoder_of

WIDE: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
GEMMA = {**WIDE, "head_dim": 4, "query_pre_attn_scalar": 4, "sliding_window": 6}

MODELS: dict[str, Callable[[], tuple[type, Any]]] = {
    "gpt2": lambda: (
        hf.GPT2LMHeadModel,
        hf.GPT2Config(vocab_size=64, n_embd=16, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2),
    ),
    "qwen2": lambda: (hf.Qwen2ForCausalLM, hf.Qwen2Config(**WIDE)),
    "qwen2, a window in one layer": lambda: (
        hf.Qwen2ForCausalLM,
        hf.Qwen2Config(**WIDE, use_sliding_window=True, sliding_window=6, max_window_layers=1),
    ),
    "qwen3": lambda: (hf.Qwen3ForCausalLM, hf.Qwen3Config(**WIDE, head_dim=4)),
    "mistral, a window": lambda: (hf.MistralForCausalLM, hf.MistralConfig(**WIDE, sliding_window=5)),
    "gemma2, a window, a cap": lambda: (
        hf.Gemma2ForCausalLM,
        hf.Gemma2Config(**GEMMA, final_logit_softcapping=3.0, attn_implementation="eager"),
    ),
    "gemma3, a window": lambda: (
        hf.Gemma3ForCausalLM,
        hf.Gemma3TextConfig(**GEMMA, layer_types=["sliding_attention", "full_attention"]),
    ),
    "cohere, a scale": lambda: (hf.CohereForCausalLM, hf.CohereConfig(**WIDE, logit_scale=0.3)),
    "granite, a scale": lambda: (hf.GraniteForCausalLM, hf.GraniteConfig(**WIDE, logits_scaling=3.0)),
    "phi, a bias": lambda: (hf.PhiForCausalLM, hf.PhiConfig(**WIDE)),
    "mamba, no keys": lambda: (
        hf.MambaForCausalLM,
        hf.MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=2, state_size=4),
    ),
}
OWN_LOGITS = {"gemma2, a window, a cap", "cohere, a scale", "granite, a scale"}
NOT_SHARED = {"mamba, no keys"}


def make(name: str) -> Any:
    kind, config = MODELS[name]()
    return tiny_model(kind, config, torch.float32)


def long_batch() -> Batch:
    """Prompts and completions longer than every window above."""
    return random_batch((3, 1, 2), (15, 3, 9), 10)


@pytest.mark.parametrize("name", MODELS)
def test_scores_are_the_models_own(name: str) -> None:
    said: list[str] = []
    model = make(name)
    policy = Policy(model, said.append)
    assert policy.plain_head == (name not in OWN_LOGITS)
    assert policy.shares_prompts == (name not in NOT_SHARED)
    assert policy.native is None and all(text.startswith(type(model).__name__) for text in said)
    assert ["once per completion" in text for text in said] == [False] + [True] * (name in NOT_SHARED)
    logp, entropy = policy(long_batch())
    expected, expected_entropy = direct(model, long_batch())
    assert (logp - expected).abs().max() < 2e-5
    assert (entropy - expected_entropy).abs().max() < 2e-5
    incoming = torch.linspace(-1, 1, logp.numel()).view_as(logp)
    gradients = []
    for value in (logp, expected):
        model.zero_grad()
        value.backward(incoming)
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert (gradients[0] - gradients[1]).norm() < 1e-4 * gradients[1].norm()


@pytest.mark.parametrize("name", MODELS)
def test_samples_are_drawn_from_the_models_own_distribution(name: str) -> None:
    model = make(name)
    policy = Policy(model, lambda _: None)
    prompts = [list(range(3, 18)), [20, 21, 22]]
    draws = torch.rand(6, 12, generator=torch.Generator().manual_seed(3))
    sampling, ends = Sampling(max_tokens=12), frozenset(NumberChat().eos_ids)
    with torch.no_grad():
        drawn = decode(WholeDecoder(policy), prompts, draws, sampling, ends)
        fastest = decoder_of(policy)
        assert isinstance(fastest, CachedDecoder if policy.shares_prompts else WholeDecoder)
        assert [ids for ids, _ in decode(fastest, prompts, draws, sampling, ends)] == [ids for ids, _ in drawn]
        for i, (ids, logps) in enumerate(drawn):
            prompt = prompts[i // 3]
            logits = model(torch.tensor([prompt + ids]), use_cache=False).logits[0, len(prompt) - 1 : -1]
            expected = torch.log_softmax(logits, -1).gather(1, torch.tensor(ids)[:, None])[:, 0]
            assert torch.allclose(torch.tensor(logps), expected, atol=2e-5)


def test_a_head_that_does_something_unknown_is_refused() -> None:
    config = hf.RecurrentGemmaConfig(**WIDE, lru_width=16, attention_window_size=8, logits_soft_cap=0.5)
    with pytest.raises(UserError, match="RecurrentGemmaForCausalLM does more to its logits"):
        Policy(tiny_model(hf.RecurrentGemmaForCausalLM, config, torch.float32), print)


def test_an_adapter_on_the_head_is_scored_and_sampled_with() -> None:
    model = with_adapter(tiny_model(), target_modules=["q_proj", "lm_head"], scale=0.5)
    policy = Policy(model, print)
    batch = random_batch()
    with torch.no_grad():
        expected, entropy = direct(model, batch)
        with model.disable_adapter():
            assert (direct(model, batch)[0] - expected).abs().max() > 0.1
        assert (policy(batch)[0] - expected).abs().max() < 1e-9
        assert (policy(batch)[1] - entropy).abs().max() < 1e-9
        hidden = policy.hidden(batch)
        logp = torch.log_softmax(policy.logits(hidden), -1).gather(1, batch.completion_ids[batch.mask][:, None])[:, 0]
        assert (logp - expected[batch.mask]).abs().max() < 1e-9
